"""What a model's server answers: the contract of SageMaker's containers, as a WSGI application.

``GET /ping`` (200 once the model is loaded, 503 before), ``POST /invocations`` with a JPEG or PNG,
``GET /execution-parameters`` for batch jobs, and one more that SageMaker has not: ``GET /model``
gives the class names, so that a client needs none. Errors are JSON: ``{"error": "…"}``.

Source of the contract: "Use Your Own Inference Code with Hosting Services" and "Object Detection
Request and Response Formats" in AWS's developer guide.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..bodies import frame
from ..errors import TrainError
from .batching import Batcher, cores

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_LOG = logging.getLogger(__name__)
_IMAGES = ("image/jpeg", "image/png", "application/x-image")
_MIB = 1 << 20
_MOST_SCANS = 100
"""Of a progressive JPEG, which has about ten. Each goes over all pixels, and can have no bytes."""

StartResponse = Callable[[str, list[tuple[str, str]]], object]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server takes: ``body`` bytes and ``pixels`` of an image, requests that ``wait`` at
    once."""

    body: int = 6 * _MIB
    pixels: int = 1 << 26
    wait: int = 64


class Detects(Protocol):
    """What answers: ``Detector``."""

    def prepare(self, data: bytes, name: str, /) -> tuple[npt.NDArray[np.uint8], int, int]: ...
    def detect(self, images: Sequence[Any], /) -> list[npt.NDArray[np.float32]]: ...


class About(NamedTuple):
    """The answer of ``/model``: the classes in the order of their ids (None where nobody knows
    them), a checksum of the model, its network and the side of its images in pixels."""

    classes: Sequence[str] | None
    model: str
    base_network: str = ""
    image_shape: int = 0


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]


class App:
    """The WSGI application. It says that it is loading until ``begin`` is called."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._waiting = threading.BoundedSemaphore(self.limits.wait)
        # decoding needs much memory for a moment, and has no use of more threads than cores
        self._decoding = threading.BoundedSemaphore(cores())
        self._detector: Detects | None = None
        self._batcher: Batcher | None = None
        self._about: About | None = None

    def begin(self, detector: Detects, about: About, batch: int = 4) -> None:
        """Answer from now on with this model, at most ``batch`` images at a time."""
        self._batcher = Batcher(detector.detect, batch)
        self._detector, self._about = detector, about

    def close(self) -> None:
        """End the batcher's thread."""
        if self._batcher is not None:
            self._batcher.close()

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        headers: list[tuple[str, str]] = []
        try:
            status, answer = "200 OK", self._answer(environ)
        except Refusal as error:
            status, headers = error.status, error.headers
            answer = error_body(str(error))
        except Exception:
            _LOG.exception("a request failed")
            status = "500 Internal Server Error"
            answer = error_body("the server failed; see its log")
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
        start(status, headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer]

    def _answer(self, environ: dict[str, Any]) -> bytes:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        routes: dict[str, tuple[str, Callable[[dict[str, Any]], bytes]]] = {
            "/ping": ("GET", self._ping), "/invocations": ("POST", self._invoke),
            "/model": ("GET", self._model), "/execution-parameters": ("GET", self._parameters),
        }  # fmt: skip
        if path not in routes:
            raise Refusal("404 Not Found", f"there is no {path}; use {', '.join(routes)}")
        allowed, run = routes[path]
        if method != allowed and (method, allowed) != ("HEAD", "GET"):
            raise Refusal(
                "405 Method Not Allowed", f"{method} {path}: use {allowed}", Allow=allowed
            )
        return run(environ)

    def _ping(self, _: dict[str, Any]) -> bytes:
        self._loaded()
        return b""

    def _model(self, _: dict[str, Any]) -> bytes:
        self._loaded()
        assert self._about is not None
        return json.dumps(self._about._asdict()).encode()

    def _parameters(self, _: dict[str, Any]) -> bytes:
        return json.dumps({
            "MaxConcurrentTransforms": self.limits.wait // 8, "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": self.limits.body // _MIB,
        }).encode()  # fmt: skip

    def _loaded(self) -> tuple[Detects, Batcher]:
        if self._detector is None or self._batcher is None:
            raise Refusal(
                "503 Service Unavailable", "the model is being loaded; come back", Retry_After="1"
            )
        return self._detector, self._batcher

    def _invoke(self, environ: dict[str, Any]) -> bytes:
        kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind not in _IMAGES:
            raise Refusal(
                "415 Unsupported Media Type",
                f"Content-Type: {kind or 'missing'}; use {', '.join(_IMAGES)}",
            )
        pixel_form = _wants_pixels(environ.get("HTTP_ACCEPT", ""))
        detector, batcher = self._loaded()
        if not self._waiting.acquire(blocking=False):
            raise Refusal(
                "503 Service Unavailable",
                f"{self.limits.wait} requests are waiting already; come back",
                Retry_After="1",
            )
        try:
            with self._decoding:
                image, width, height = self._prepare(environ, detector)
            rows = batcher.ask(image, environ.get("waitress.client_disconnected"))
        except ConnectionError as error:
            raise Refusal("503 Service Unavailable", str(error)) from error
        finally:
            self._waiting.release()
        return _answer(rows, width, height, pixel_form=pixel_form)

    def _prepare(
        self, environ: dict[str, Any], detector: Detects
    ) -> tuple[npt.NDArray[np.uint8], int, int]:
        # what is longer than the limit was refused by the server
        length = int(environ.get("CONTENT_LENGTH") or 0)
        data = environ["wsgi.input"].read(length)
        if not data:
            raise Refusal("400 Bad Request", "the body is empty; send the bytes of an image")
        header = frame(data)
        if header is None:
            raise Refusal("400 Bad Request", "the body is not an image; send a JPEG or PNG")
        if header.width * header.height > self.limits.pixels:
            raise Refusal(
                "400 Bad Request",
                f"the image has {header.width:,} x {header.height:,} pixels; send at most "
                f"{self.limits.pixels:,} of them",
            )
        if data.count(b"\xff\xda") > _MOST_SCANS:
            raise Refusal(
                "400 Bad Request", "the image is a JPEG of too many scans; encode it again"
            )
        try:
            return detector.prepare(data, "the body")
        except TrainError as error:
            raise Refusal("400 Bad Request", str(error)) from error


def error_body(message: str) -> bytes:
    """The body of an error."""
    return json.dumps({"error": message}).encode()


def _wants_pixels(accept: str) -> bool:
    """Whether the answer is in pixels (``annotation=1``), by the header Accept; else in ratios."""
    for one in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in one.split(";"))
        if kind in ("", "*/*", "application/*", "application/json"):
            return "annotation=1" in parameters
    raise Refusal(
        "406 Not Acceptable",
        f"Accept: {accept}; use application/json or application/json;annotation=1",
    )


def _answer(rows: npt.NDArray[np.float32], width: int, height: int, *, pixel_form: bool) -> bytes:
    """The rows of ``Detector.detect`` in one of SageMaker's two forms."""
    found: list[list[float]] = rows.tolist()
    answer: dict[str, Any] = {"prediction": found}
    if pixel_form:
        answer = {
            "image_size": [{"width": width, "height": height, "depth": 3}],
            "annotations": [
                {"class_id": int(id_), "score": score, "left": left * width, "top": top * height,
                 "width": (right - left) * width, "height": (bottom - top) * height}
                for id_, score, left, top, right, bottom in found
            ],
        }  # fmt: skip
    try:
        return json.dumps(answer, allow_nan=False).encode()
    except ValueError:
        raise Refusal(
            "500 Internal Server Error", "the model gives numbers that are not finite"
        ) from None
