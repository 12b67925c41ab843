"""The SSD algorithm beside torchvision's own SSD, and its server under many clients."""

from __future__ import annotations

import importlib.util
import math
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.data import draw, make_records
from benchmarks.measure import Claim, Measurement, Table, Work, function_work
from benchmarks.setting import Setting

NETWORKS = ("vgg-16", "resnet-50")
PEER = "torchvision ssd300_vgg16: step"
CLIENTS = (1, 8)
REQUESTS = 40
_CLASSES = 3
_DRAWN = 400


def training_tables(setting: Setting) -> Iterator[Table]:
    """One table: batches of 32 in bfloat16 on a GPU; without one a single image."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    on_gpu = torch.cuda.is_available()
    batch, steps = (32, 100) if on_gpu else (1, 1)
    rec = setting.memory / "drawn.rec"
    manifest = make_records(rec, draw(min(_DRAWN, batch * steps)), batch * steps)
    with ExitStack() as stack:
        works: dict[str, Work] = {PEER: _peer_steps(batch, steps)}
        for network in NETWORKS:
            training = stack.enter_context(_training(rec, manifest, network, batch))
            works[f"{network}: step"] = _steps(training, steps)
            works[f"{network}: epoch"] = _timed(training._train_epoch)
        works["loader"] = _timed(lambda: _read(training._loaders[0]))
        claims = [
            Claim("vgg-16's step against torchvision's", [PEER], ["vgg-16: step"], least=1.3),
            Claim("resnet-50's step against it", [PEER], ["resnet-50: step"], least=3),
            Claim("resnet-50's epoch, reading included, against it", [PEER], ["resnet-50: epoch"]),
        ]
        title = f"training on {batch * steps:,} images, batches of {batch}, 300 × 300"
        kind = "in bfloat16 on a GPU" if on_gpu else "on the CPU: too few for a claim"
        counts = dict.fromkeys(works, batch * steps)
        yield Table(f"{title}, {kind}", works, claims if on_gpu else [], counts)


@contextmanager
def _training(rec: Path, manifest: Any, network: str, batch: int) -> Iterator[Any]:
    """A training that is ready to begin."""
    from train.hyperparameters import Hyperparameters
    from train.ssd.fitting import Setup, _Training
    from train.ssd.ranks import joined

    learning = Hyperparameters.from_manifests(
        manifest, base_network=network, use_pretrained_model=0, mini_batch_size=batch,
        epochs=10,
    )  # fmt: skip
    setup = Setup(hyperparameters=learning, train=rec, validation=rec)
    with joined(setup.device) as ranks:
        yield _Training(setup, ranks, lambda _: None, lambda: False)


def _steps(training: Any, steps: int) -> Work:
    """Steps on batches that are on the device already."""
    ready = list(islice(training._batches(training._loaders[0]), 8))

    def run() -> None:
        training._module.train()
        for images, labels in islice(cycle(ready), steps):
            training._step(images, labels)

    return _timed(run)


def _peer_steps(batch: int, steps: int) -> Work:
    """The same with torchvision's SSD, as its own reference trains it."""
    import torch
    from torchvision.models.detection import ssd300_vgg16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=_CLASSES + 1)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0001, momentum=0.9, weight_decay=5e-4)
    images = list(torch.rand(batch, 3, 300, 300, device=device))
    boxes = torch.tensor([[30.0, 30, 150, 180], [100, 90, 250, 260]], device=device)
    labels = torch.tensor([1, 2], device=device)
    targets = [{"boxes": boxes, "labels": labels} for _ in images]

    def run() -> None:
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                losses = model(images, targets)
            optimizer.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            optimizer.step()

    return _timed(run)


def _read(loader: Any) -> None:
    for _ in loader.epoch(0):
        pass


def _timed(run: Callable[[], object]) -> Work:
    """Work that is over when the GPU has done it."""
    import torch

    def whole() -> None:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return function_work(whole)


def serving_tables(setting: Setting) -> Iterator[Table]:
    """One table: the same requests by one client and by eight, each on a connection of its own,
    and the slowest of a hundred; beside them the detector without a server."""
    if importlib.util.find_spec("torch") is None:
        return
    from train.ssd.artifact import write_model
    from train.ssd.detector import Detector

    images = [image for image, _ in draw(REQUESTS)]
    model = _untrained()
    detector = Detector(model)
    path = setting.memory / "model.tar.gz"
    write_model(path, model)

    def alone() -> None:
        for image in images:
            detector.detect([detector.prepare(image)[0]])

    works: dict[str, Work] = {"the detector alone, one by one": _timed(alone)}
    counts = dict.fromkeys(works, REQUESTS)
    with _server(path) as port:
        for clients in CLIENTS:
            seconds: list[float] = []
            name = f"{clients} client{'s' * (clients > 1)}: "
            works[name + "all requests"] = _requests(port, images, clients, seconds)
            works[name + "the slowest of a hundred"] = _slowest(seconds)
            counts[name + "all requests"] = REQUESTS
        claims = [
            Claim("8 clients against the detector alone", list(works)[:1],
                  ["8 clients: all requests"]),
        ]  # fmt: skip
        yield Table(f"{REQUESTS} requests, resnet-50, 300 × 300", works, claims, counts)


def _untrained() -> Any:
    """A model of random weights: it finds more than a trained one, so its answers are longer."""
    import numpy as np

    from train.ssd.artifact import Model
    from train.ssd.network import build, initial_arrays

    symbol = build("resnet-50", _CLASSES, 300)
    known = {"base_network": "resnet-50", "num_classes": str(_CLASSES), "image_shape": "300"}
    return Model(symbol, initial_arrays(symbol, 300, np.random.default_rng(0)), known)


@contextmanager
def _server(model: Path) -> Iterator[int]:
    """The port of ``recpack-train deploy --local``, which ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    start = "from recpack.cli.train import console; console()"
    command = [sys.executable, "-c", start, "deploy", "--local", str(model), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if process.poll() is not None or _is_healthy(port):
                break
            time.sleep(0.1)
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {command}")
        yield port
    finally:
        process.terminate()
        process.wait()


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _requests(port: int, images: Sequence[bytes], clients: int, seconds: list[float]) -> Work:
    """All images by so many clients; ``seconds`` gets what each request took."""

    def one_client(share: Sequence[bytes]) -> list[float]:
        took = []
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        for image in share:
            start = time.perf_counter()
            connection.request("POST", "/invocations", image, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            took.append(time.perf_counter() - start)
        connection.close()
        return took

    def run() -> None:
        shares = [images[number::clients] for number in range(clients)]
        with ThreadPoolExecutor(clients) as pool:
            seconds[:] = [one for took in pool.map(one_client, shares) for one in took]

    return function_work(run)


def _slowest(seconds: Sequence[float]) -> Work:
    """The 99th percentile of the requests just made."""

    def work() -> Measurement:
        return Measurement(sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1], 0.0)

    return work
