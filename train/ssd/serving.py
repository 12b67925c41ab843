"""The server of a model, on any machine, from its start to its end. ``application`` has its
answers, ``http_server`` its connections."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import joblib

from ..errors import SpecError
from ..service import Service
from .application import About, App, Limits
from .http_server import Server

if TYPE_CHECKING:
    from .artifact import Model

_ON_GPU, _ON_CPU = 16, 4
"""Images in a batch. A CPU gains little by more, and the first of them waits for the last."""


def checksum(model: Model) -> str:
    """The same for the same model: its graph and its arrays."""
    from .mxnet_files import write_symbol

    digest = hashlib.sha256(write_symbol(model.symbol))
    for name, array in model.arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def serve(
    model: str | Path | Model,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    classes: Sequence[str] | None = None,
    service: Service | None = None,
    device: str = "auto",
    limits: Limits | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a model until SIGTERM, SIGINT or Ctrl-C; then answer what was asked, and return.

    ``model`` is what ``read_model`` takes. ``port`` 0 is any free one. Connections are accepted at
    once, and answered 503 while the model is loaded. ``say`` gets a line with the address then.
    Raises JobError when the port is taken, ModelError for what is no model, SpecError for wrong
    ``classes``.
    """
    # threads that wait for work let others work: without it, a machine with other work to do, if
    # only to decode images, takes up to ten times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app = App(limits)
    server = Server(app, host, port, body=app.limits.body, threads=app.limits.wait + 4)
    listening = threading.Thread(target=server.run, name="http")
    try:
        # the main thread loads: a process that ends while another thread is in torch crashes
        with _stopping(server) as demand_running:
            listening.start()
            about = _load(app, model, service, classes, device, demand_running)
            if about.classes is None:
                say("warning: nobody knows the names of the classes; give --classes")
            say(f"serving at {server.url}; stop it with Ctrl-C")
            listening.join()
    finally:
        server.stop()
        listening.join()
        app.close()


def read(place: str | Path, service: Service | None) -> tuple[Model, Sequence[str] | None]:
    """The model of a place that ``read_model`` takes, and its classes, where its job's record is
    beside it. Raises ModelError, SpecError."""
    from ..records import read_trained
    from .artifact import read_model

    model = read_model(place, service)
    inside = Path(place) / "output" / "model.tar.gz"
    trained = read_trained(str(inside if inside.is_file() else place), service or Service())
    return model, None if trained is None else trained.classes


def _load(
    app: App, model: str | Path | Model, service: Service | None, classes: Sequence[str] | None,
    device: str, demand_running: Callable[[], None],
) -> About:  # fmt: skip
    """Load the model, and begin."""
    import torch

    from .artifact import Model
    from .detector import Detector

    demand_running()
    if not isinstance(model, Model):
        model, known = read(model, service)
        classes = classes or known
    demand_running()
    detector = Detector(model, device=device)
    if classes is not None and len(classes) != detector.num_classes:
        raise SpecError(
            f"classes: {len(classes)} names, and the model has {detector.num_classes} classes; "
            "give --classes"
        )
    torch.set_num_threads(joblib.cpu_count())
    detector.warm_up()
    demand_running()
    network = model.hyperparameters.get("base_network", "")
    about = About(classes, checksum(model), network, detector.image_shape)
    app.begin(detector, about, _ON_GPU if detector.device.type == "cuda" else _ON_CPU)
    return about


class _Stopped(Exception):
    """The server was told to end before it had a model."""


@contextmanager
def _stopping(server: Server) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT stop the server, the second one at once. The function that the block is
    given ends it, once they have: an error of a signal itself, in the middle of an import, would
    end torch's C++ by an abort."""

    def stop(*_: object) -> None:
        server.stop()
        if server.stops > 2:  # and it is no one that is patient
            os._exit(130)

    def demand_running() -> None:
        if server.stops:
            raise _Stopped

    main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGTERM, signal.SIGINT) if main else ()
    before = {one: signal.signal(one, stop) for one in signals}
    try:
        with suppress(_Stopped):
            yield demand_running
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
