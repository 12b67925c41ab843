"""The server over real connections: its contract, what it refuses, clients that are slow, broken
or hostile, batches, and its end."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from train.errors import JobError, TrainError
from train.ssd import augment, http_server
from train.ssd.application import About, App, Limits
from train.ssd.batching import Batcher
from train.ssd.http_server import Server

pytestmark = pytest.mark.once

JPEG = cv2.imencode(".jpg", np.full((20, 40, 3), 90, np.uint8))[1].tobytes()
PNG = cv2.imencode(".png", np.full((20, 40, 3), 90, np.uint8))[1].tobytes()
ROWS = np.array([[1, 0.75, 0.25, 0.5, 0.5, 1.0]], np.float32)


@dataclass
class Finds:
    """A detector that finds the same in every image; an image with the value 13 can't be
    detected. It waits for ``gate``, and ``batches`` has the sizes of what it was given."""

    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    rows: npt.NDArray[np.float32] = field(default_factory=lambda: ROWS)

    def prepare(self, data: bytes, name: str = "", /) -> tuple[npt.NDArray[np.uint8], int, int]:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise TrainError(f"{name}: not an image")
        return pixels[:1, :1].astype(np.uint8), pixels.shape[1], pixels.shape[0]

    def detect(self, images: Sequence[Any], /) -> list[npt.NDArray[np.float32]]:
        self.batches.append(len(images))
        assert self.gate.wait(20)
        if any((image == 13).all() for image in images):
            raise RuntimeError("CUDA error")
        return [self.rows for _ in images]


@dataclass
class Running:
    server: Server
    app: App
    finds: Finds
    ended: Callable[[], bool]

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), data

    def detect(self, body: bytes, kind: str = "image/jpeg", **headers: str) -> Any:
        status, _, data = self.ask("POST", "/invocations", body, Content_Type=kind, **headers)
        return status, json.loads(data)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)


@contextmanager
def running(limits: Limits | None = None, *, loaded: bool = True) -> Iterator[Running]:
    app, finds = App(limits), Finds()
    finds.gate.set()
    if loaded:
        app.begin(finds, About(("cat", "dog"), "abc", "resnet-18", 64))
    server = Server(app, "127.0.0.1", 0, body=app.limits.body, threads=app.limits.wait + 2)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Running(server, app, finds, lambda: not thread.is_alive())
    finds.gate.set()
    server.stop()
    thread.join(20)
    assert not thread.is_alive()
    app.close()


@pytest.fixture
def served() -> Iterator[Running]:
    with running() as found:
        yield found


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def together(number: int, work: Callable[[int], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(at,)) for at in range(number)]
    for one in threads:
        one.start()
    return threads


# ---- the contract


@pytest.mark.parametrize("body", [JPEG, PNG], ids=["jpeg", "png"])
@pytest.mark.parametrize(
    "kind", ["image/jpeg", "image/png", "application/x-image", "IMAGE/JPEG; a=b"]
)
def test_an_image_gets_ratios(served: Running, body: bytes, kind: str) -> None:
    status, answer = served.detect(body, kind)
    assert (status, answer) == (200, {"prediction": [[1.0, 0.75, 0.25, 0.5, 0.5, 1.0]]})


@pytest.mark.parametrize(
    "accept", ["application/json;annotation=1", "text/html, Application/JSON; annotation=1"]
)
def test_or_pixels(served: Running, accept: str) -> None:
    assert served.detect(JPEG, Accept=accept) == (200, {
        "image_size": [{"width": 40, "height": 20, "depth": 3}],
        "annotations": [{"class_id": 1, "score": 0.75, "left": 10.0, "top": 10.0, "width": 10.0,
                         "height": 10.0}],
    })  # fmt: skip


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,*/*;q=0.8"])
def test_answers_that_a_client_takes(served: Running, accept: str) -> None:
    assert "prediction" in served.detect(JPEG, Accept=accept)[1]


def test_ping_and_what_is_told_of_the_model(served: Running) -> None:
    status, headers, body = served.ask("GET", "/ping")
    assert (status, body, headers["Content-Length"]) == (200, b"", "0")
    assert served.ask("HEAD", "/ping")[0] == 200
    assert json.loads(served.ask("GET", "/model")[2]) == {
        "classes": ["cat", "dog"], "model": "abc", "base_network": "resnet-18", "image_shape": 64,
    }  # fmt: skip
    assert json.loads(served.ask("GET", "/execution-parameters")[2]) == {
        "MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6,
    }  # fmt: skip
    status, headers, body = served.ask("HEAD", "/model")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_until_the_model_is_loaded_it_says_so() -> None:
    with running(loaded=False) as served:
        for ask in (("GET", "/ping"), ("GET", "/model"), ("POST", "/invocations", JPEG)):
            status, headers, body = served.ask(*ask, Content_Type="image/jpeg")
            assert (status, headers["Retry-After"]) == (503, "1")
            assert "being loaded" in json.loads(body)["error"]
        served.app.begin(served.finds, About(None, ""))
        assert served.ask("GET", "/ping")[0] == 200


# ---- what it refuses


def png_of(width: int, height: int) -> bytes:
    """A file of a few bytes that says how large it is."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk + PNG[33:]


def jpeg_of(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + JPEG[at + 4 :]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"), (b"hello", "not an image"), (JPEG[:30], "not an image"),
        (b"GIF89a" + bytes(50), "not an image"), (b"\xff\xd8\xff" + b"\xff" * 3000, "not an image"),
        (png_of(60_000, 60_000), "60,000 x 60,000 pixels"), (png_of(40, 0), "not an image"),
        (jpeg_of(65_000, 65_000), "65,000 x 65,000 pixels"), (PNG[:40], "not an image"),
        # a decoder looks for headers where no length says that something is skipped
        *(
            (JPEG[:2] + hides + b"\x10\0" + jpeg_of(9000, 9000)[2:].ljust(4094) + JPEG[2:],
             "not an image")
            for hides in (b"\xff\0", b"\xff\x01", b"\xff\xd0", b"\xff\xd7")
        ),
        (JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") : -2] * 101, "too many scans"),
    ],
)  # fmt: skip
def test_what_is_no_image(served: Running, body: bytes, why: str) -> None:
    status, answer = served.detect(body, "application/x-image")
    assert status == 400
    assert why in answer["error"]
    assert served.finds.batches == []


def test_damaged_images_are_answered_or_refused() -> None:
    """With the decoder of the training, and without HTTP."""

    class Decodes(Finds):
        def prepare(self, data: bytes, name: str = "", /) -> tuple[npt.NDArray[np.uint8], int, int]:
            pixels = augment.decode(data, name)
            return augment.resize(pixels, 4), pixels.shape[1], pixels.shape[0]

    app = App(Limits(pixels=1 << 16))
    finds, random = Decodes(), np.random.RandomState(0)
    finds.gate.set()
    app.begin(finds, About(None, ""))
    statuses: list[str] = []
    for number in range(150):
        body = bytearray(JPEG if number % 2 else PNG)
        for at in random.randint(0, len(body), random.randint(4)):
            body[at] = random.choice([0, 1, 127, 255])
        del body[random.randint(len(body) // 2, 2 * len(body)) :]
        app(
            {"PATH_INFO": "/invocations", "REQUEST_METHOD": "POST", "CONTENT_TYPE": "image/png",
             "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)},
            lambda status, _: statuses.append(status),
        )  # fmt: skip
    app.close()
    assert set(statuses) == {"200 OK", "400 Bad Request"}
    assert len(statuses) == 150


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "why"),
    [
        ("POST", "/invocations", {"Content_Type": "text/csv"}, 415, "use image/jpeg"),
        ("POST", "/invocations", {}, 415, "missing"),
        ("POST", "/invocations", {"Content_Type": "image/png", "Accept": "a/b"}, 406, "a/b"),
        ("GET", "/invocations", {}, 405, "use POST"), ("DELETE", "/ping", {}, 405, "use GET"),
        ("HEAD", "/invocations", {}, 405, ""), ("GET", "/", {}, 404, "/ping"),
        ("POST", "/models/../etc/passwd", {}, 404, "there is no"),
    ],
)  # fmt: skip
def test_what_is_no_request_of_the_contract(
    served: Running, method: str, path: str, headers: dict[str, str], status: int, why: str
) -> None:
    got, fields, body = served.ask(method, path, JPEG if method == "POST" else None, **headers)
    assert got == status
    assert fields["Content-Type"] == "application/json"
    assert ("Allow" in fields) == (status == 405)
    if method == "HEAD":
        assert body == b""
    else:
        assert why in json.loads(body)["error"]


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_refused_and_the_client_sees_why(chunked: bool) -> None:
    """It is not read into memory; what the client sends meanwhile is forgotten."""
    with running(Limits(body=100_000)) as served:
        body = bytes(8_000_000)
        connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=20)
        connection.request(
            "POST", "/invocations", iter([body]) if chunked else body,
            {"Content-Type": "image/png"}, encode_chunked=chunked,
        )  # fmt: skip
        answer = connection.getresponse()
        assert answer.status == 413
        assert "at most 100,000 bytes" in json.loads(answer.read())["error"]
        connection.close()
        exact = served.detect(JPEG + bytes(100_000 - len(JPEG)))
        assert exact[0] == 200
        assert served.detect(JPEG + bytes(100_001 - len(JPEG)))[0] == 413


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_no_http(served: Running, sent: bytes, status: int) -> None:
    with served.connect() as client:
        client.sendall(sent)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == status
        assert json.loads(answer.read()).keys() == {"error"}
    assert served.ask("GET", "/ping")[0] == 200


def test_a_failure_of_the_model_is_told_without_a_traceback(
    served: Running, caplog: pytest.LogCaptureFixture
) -> None:
    bad = cv2.imencode(".png", np.full((2, 2, 3), 13, np.uint8))[1].tobytes()
    status, answer = served.detect(bad)
    assert (status, answer) == (500, {"error": "the server failed; see its log"})
    assert "CUDA error" in caplog.text
    served.finds.rows = np.array([[0, np.nan, 0, 0, 1, 1]], np.float32)
    assert served.detect(JPEG) == (500, {"error": "the model gives numbers that are not finite"})


# ---- clients


def test_chunked_pipelined_and_kept_connections(served: Running) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(JPEG) + JPEG
    parts = head + b"Transfer-Encoding: chunked\r\n\r\n"
    parts += b"%x\r\n%s\r\n" % (9, JPEG[:9]) + b"%x\r\n%s\r\n" % (len(JPEG) - 9, JPEG[9:])
    with served.connect() as client:
        client.sendall((whole + parts + b"0\r\n\r\n") * 3)
        got = b""
        while got.count(b"}") < 6:
            got += client.recv(1 << 16)
        assert got.count(b"HTTP/1.1 200 OK") == got.count(b'{"prediction": [[1.0, 0.75, ') == 6


def test_expect_is_answered(served: Running) -> None:
    with served.connect() as client:
        client.sendall(
            b"POST /invocations HTTP/1.1\r\nContent-Type: image/jpeg\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(JPEG)
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(JPEG)
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_slow_and_broken_clients_take_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are dropped after some seconds, and others are served meanwhile."""
    monkeypatch.setattr(http_server, "_PATIENCE", 1)
    monkeypatch.setattr(http_server, "_TURN", 0.1)
    with running(Limits(wait=2)) as served:
        slow = [served.connect() for _ in range(20)]
        for at, client in enumerate(slow):
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nContent-Length: 50\r\n" + b"\r\n" * (at % 2)
            )
        with served.connect() as cut:
            cut.sendall(b"POST /invocations HTTP/1.1\r\nContent-Type: image/jpeg\r\nContent-Le")
        for _ in range(5):
            assert served.detect(JPEG)[0] == 200
        drip = slow[1]
        dropped = False
        for _ in range(100):
            try:
                drip.sendall(b"x")
                drip.settimeout(0.1)
                dropped = drip.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                dropped = True
            if dropped:
                break
        assert dropped
        for client in slow:
            client.close()


# ---- batches


def test_what_arrives_while_the_model_is_busy_is_one_batch(served: Running) -> None:
    served.finds.gate.clear()
    answers: list[Any] = []
    first = together(1, lambda _: answers.append(served.detect(JPEG)))
    until(lambda: served.finds.batches)
    others = together(5, lambda _: answers.append(served.detect(PNG)))
    until(lambda: served.app._waiting._value == served.app.limits.wait - 6)
    time.sleep(0.2)  # they are decoded
    served.finds.gate.set()
    for one in first + others:
        one.join()
    assert [status for status, _ in answers] == [200] * 6
    assert served.finds.batches[0] == 1
    assert sum(served.finds.batches) == 6
    assert len(served.finds.batches) < 6


def test_too_many_requests_are_told_to_come_back() -> None:
    with running(Limits(wait=2)) as served:
        served.finds.gate.clear()
        answers: list[Any] = []
        waiting = together(2, lambda _: answers.append(served.detect(JPEG)))
        until(lambda: not served.app._waiting._value)
        status, headers, body = served.ask("POST", "/invocations", JPEG, Content_Type="image/png")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "2 requests are waiting" in json.loads(body)["error"]
        assert served.ask("GET", "/ping")[0] == 200
        served.finds.gate.set()
        for one in waiting:
            one.join()
        assert [status for status, _ in answers] == [200, 200]
        assert served.detect(JPEG)[0] == 200


def test_one_bad_image_of_a_batch_fails_alone() -> None:
    gate = threading.Event()

    def detect(images: Sequence[int]) -> list[int]:
        gate.wait(20)
        if 13 in images:
            raise RuntimeError("no")
        return [one * 2 for one in images]

    batcher, answers = Batcher(detect, 4), {}

    def ask(number: int) -> None:
        try:
            answers[number] = batcher.ask(number + 10)
        except RuntimeError:
            answers[number] = None

    threads = together(6, ask)
    gate.set()
    for one in threads:
        one.join()
    batcher.close()
    assert answers == {0: 20, 1: 22, 2: 24, 3: None, 4: 28, 5: 30}


def test_nobody_detects_for_clients_that_are_gone(
    served: Running, caplog: pytest.LogCaptureFixture
) -> None:
    served.finds.gate.clear()
    answers: list[Any] = []
    first = together(1, lambda _: answers.append(served.detect(JPEG)))
    until(lambda: served.finds.batches)
    with served.connect() as client:
        client.sendall(
            b"POST /invocations HTTP/1.1\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            % len(JPEG) + JPEG
        )  # fmt: skip
        until(lambda: served.app._waiting._value == served.app.limits.wait - 2)
    time.sleep(0.2)
    served.finds.gate.set()
    first[0].join()
    until(lambda: served.app._waiting._value == served.app.limits.wait)
    assert served.finds.batches == [1]
    assert served.detect(JPEG)[0] == 200
    assert caplog.text == ""


# ---- the end


def test_the_end_answers_what_was_asked_and_nothing_new(served: Running) -> None:
    served.finds.gate.clear()
    answers: list[Any] = []
    asked = together(3, lambda _: answers.append(served.detect(JPEG)))
    until(lambda: served.app._waiting._value == served.app.limits.wait - 3)
    idle = served.connect()
    served.server.stop()
    assert idle.recv(10) == b""
    idle.close()
    with pytest.raises(ConnectionError):
        served.connect()
    assert not served.ended()
    served.finds.gate.set()
    for one in asked:
        one.join()
    assert [status for status, _ in answers] == [200] * 3
    until(served.ended)


def test_a_second_stop_does_not_wait(served: Running) -> None:
    served.finds.gate.clear()

    def ask(_: int) -> None:
        with pytest.raises(OSError):  # noqa: PT011
            served.detect(JPEG)

    asked = together(1, ask)
    until(lambda: served.finds.batches)
    served.server.stop()
    served.server.stop()
    until(served.ended)
    served.finds.gate.set()
    asked[0].join()


def test_a_port_that_is_taken_or_none(served: Running) -> None:
    for host, port in (("127.0.0.1", served.server.port), ("no.such.host.invalid", 80),
                       ("127.0.0.1", 70_000), ("192.0.2.1", 0), ("a..b", 80)):  # fmt: skip
        with pytest.raises(JobError, match=rf"{host}:{port}: can't listen there: .*--port"):
            Server(served.app, host, port, body=1, threads=1)


def test_ipv6() -> None:
    try:
        server = Server(App(), "::1", 0, body=1, threads=1)
    except JobError:
        pytest.skip("this machine has no IPv6")
    assert server.url == f"http://[::1]:{server.port}"
    server.stop()
    server.run()
