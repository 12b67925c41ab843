"""A model served by ``recpack-train deploy --local``, as a process: detect, measure, stop."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch

import train
from tests.support.hosts import connect, model, trained
from tests.train.ssd.models import packed, small_model
from train.cli import main
from train.ssd.artifact import read_model, write_files, write_model
from train.ssd.batches import Loader
from train.ssd.detector import Detector
from train.ssd.ranks import Ranks
from train.ssd.serving import checksum, read
from train.ssd.validation import mean_average_precision

SCRIPT = "from recpack.cli.train import console; console()"
DEPLOY = [sys.executable, "-c", SCRIPT, "deploy", "--local"]
CLASSES = ("ball", "box", "cone")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a local job that has completed."""
    folder = tmp_path_factory.mktemp("models") / "voc-1"
    (folder / "output").mkdir(parents=True)
    write_model(folder / "output" / "model.tar.gz", small_model())
    record = {"version": 1, "classes": CLASSES, "data": {}}
    (folder / "recpack.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def rec(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in which every ninth thing that the model finds is an object: its weights are
    random, so of the real ones it may find none."""
    import recpack

    folder = tmp_path_factory.mktemp("rec")
    detector = Detector(read_model(job))
    with (
        recpack.RecordReader(packed(folder, 6)) as records,
        recpack.RecordWriter(folder / "found.rec", classes=CLASSES) as writer,
    ):
        for record in records:
            pixels, _, _ = detector.prepare(bytes(record.image_bytes))
            (rows,) = detector.detect([pixels])
            boxes = np.delete(rows[::9], 1, axis=1)  # without the score
            writer.write(record.image_bytes, np.clip(boxes, 0, (len(CLASSES), 1, 1, 1, 1)))
    return folder / "found.rec"


def trainings_map(detector: Detector, rec: Path) -> float:
    """The mAP that the training of this model would report."""
    loader = Loader(str(rec), batch_size=2, image_shape=64, label_width=350, training=False)
    batches = (
        (batch.images.permute(0, 3, 1, 2).float() - torch.tensor(detector.mean)[:, None, None],
         batch.labels)
        for batch in loader.epoch(0)
    )  # fmt: skip
    one = Ranks(0, 1, torch.device("cpu"))
    found: float = mean_average_precision(detector.graph, batches, one, 0.5)
    assert found > 0.01
    return found


@dataclass
class Deployed:
    process: subprocess.Popen[str]
    url: str


@contextmanager
def deployed(folder: Path, *options: str) -> Iterator[Deployed]:
    command = [*DEPLOY, str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    errors: IO[str] = process.stderr  # type: ignore[assignment]
    try:
        line = errors.readline()
        while line and not line.startswith("serving at "):
            line = errors.readline()
        assert line, "it ended before it served"
        yield Deployed(process, line.split()[2].rstrip(";"))
    finally:
        process.kill()
        process.wait()
        errors.close()


@pytest.mark.slow
def test_detect_measure_stop(
    job: Path, rec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import recpack

    with recpack.RecordReader(str(rec)) as records:
        image = bytes(next(iter(records)).image_bytes)
    (tmp_path / "a.jpg").write_bytes(image)
    with deployed(job) as one:
        endpoint = train.attach_endpoint(one.url)
        assert tuple(endpoint.classes) == CLASSES
        found = endpoint.predict(image)
        detector = Detector(read_model(job))
        pixels, width, height = detector.prepare(image)
        (rows,) = detector.detect([pixels])
        assert (found.width, found.height) == (width, height)
        np.testing.assert_allclose(
            [[item.class_id, item.score, *item.box] for item in found], rows, atol=1e-6
        )
        assert len(rows) > 10
        drawn = tmp_path / "x.png"
        assert main(["predict", one.url, str(tmp_path / "a.jpg"), "--draw", str(drawn)]) == 0
        assert drawn.stat().st_size
        capsys.readouterr()
        assert main(["evaluate", one.url, str(rec), "--resume", str(tmp_path / "answers")]) == 0
        assert json.loads(capsys.readouterr().out)["mAP"] == pytest.approx(
            trainings_map(detector, rec), abs=1e-6
        )
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
        with pytest.raises(train.JobError, match="can't be reached"):
            endpoint.predict(image)


@pytest.mark.slow
def test_without_a_record_the_classes_are_given(tmp_path: Path) -> None:
    write_files(tmp_path, small_model())
    with deployed(tmp_path, "--classes", "a,b,c") as one:
        assert train.attach_endpoint(one.url).classes == ("a", "b", "c")
        one.process.send_signal(signal.SIGINT)
        time.sleep(0.01)
        assert one.process.wait(20) == 0


@pytest.mark.slow
def test_it_says_that_it_is_loading_and_can_be_stopped_then(job: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    process = subprocess.Popen([*DEPLOY, str(job), "--port", str(port)])
    status = 0
    while not status and process.poll() is None:
        with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=20)) as ping:
            ping.request("GET", "/ping")
            status = ping.getresponse().status
        time.sleep(0.01)
    assert status == 503
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (["--role", "r", "--async", "s3://b/"], 2, "--role, --async: not for --local; leave them"),
        (["--instance-type", "ml.g5.xlarge"], 2, "--instance-type: not for --local; leave it out"),
        (["--no-wait"], 2, "--no-wait: not for"), (["--tag", "a=b"], 2, "--tag: not for"),
        (["--port", "70000"], 2, "'70000' is not a port"),
        (["--host", "no.such.invalid"], 1, "can't listen"),
        (["--classes", "a,b", "--port", "0"], 1, "2 names, and the model has 3 classes"),
        (["--device", "cuda", "--port", "0"], 1, "device: there is no GPU"),
    ],
)  # fmt: skip
def test_what_it_refuses(
    job: Path, options: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with suppress(SystemExit):  # argparse's own
        assert main(["deploy", "--local", str(job), *options]) == code
    assert why in capsys.readouterr().err


def test_a_model_and_its_classes_in_s3(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws = trained()
    aws.objects["hosting/models/voc-1/output/model.tar.gz"] = (
        job / "output" / "model.tar.gz"
    ).read_bytes()
    found, classes = read(model("voc-1"), connect(monkeypatch, aws))
    assert checksum(found) == checksum(small_model())
    assert tuple(classes or ()) == ("cat", "dog")


@pytest.mark.parametrize("name", ["nothing", "voc.tar.gz"])
def test_what_is_no_model(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "voc.tar.gz").write_bytes(b"hello")
    assert main(["deploy", "--local", str(tmp_path / name), "--port", "0"]) == 1
    assert f"{name}: " in capsys.readouterr().err


def test_options_of_a_server_need_local(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "voc-1", "--port", "80", "--host", "::1"]) == 2
    assert "--port, --host: only with --local; leave them out" in capsys.readouterr().err
