"""A server of one's own as an endpoint: what is asked of it, and what it can do wrong. The servers
here answer as they are told; the real one is in ``ssd/test_deploy_local.py``."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import train
from tests.support.devkits import jpeg, make_voc
from tests.support.hosts import Typed, rest
from train import asynchronous, served
from train.errors import JobError, SpecError, UsageError
from train.evaluation import evaluate_endpoint
from train.served import Server
from train.service import Service

pytestmark = pytest.mark.once

ABOUT = json.dumps({"classes": ["cat", "dog"], "model": "m1"}).encode()
FOUND = b'{"prediction": [[1.0, 0.9, 0.1, 0.1, 0.5, 0.5], [0.0, 0.2, 0, 0, 1, 1]]}'
Answer = tuple[int, bytes]


@dataclass
class Told:
    """A server's next answers for each path, the last one for ever, and what it was asked."""

    answers: dict[str, list[Answer | None]] = field(
        default_factory=lambda: {
            "/model": [(200, ABOUT)], "/invocations": [(200, FOUND)], "/ping": [(200, b"")],
        }
    )  # fmt: skip
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    url: str = ""
    cut: int | None = None


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.asked.append((self.path, self.headers.get("Content-Type", ""), body))
            answers = told.answers.get(self.path, [(404, b"no")])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if answer is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1][: told.cut])

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    rest(monkeypatch, lambda _: None)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # must not be asked
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def test_its_url_is_an_endpoint(told: Told) -> None:
    endpoint = train.attach_endpoint(told.url + "/")
    assert (endpoint.name, tuple(endpoint.classes)) == (told.url, ("cat", "dog"))
    image = jpeg(40, 30)
    with endpoint as entered:
        found = entered.predict(image)
    assert [(one.name, one.score, one.box) for one in found] == [
        ("dog", 0.9, (0.1, 0.1, 0.5, 0.5)), ("cat", 0.2, (0.0, 0.0, 1.0, 1.0)),
    ]  # fmt: skip
    assert (found.width, found.height) == (40, 30)
    assert told.asked[1:] == [("/invocations", "image/jpeg", image)]  # it was not deleted
    assert endpoint.wait() is endpoint


def test_a_path_before_the_contract_s(told: Told) -> None:
    told.answers = {"/ssd/v2" + path: answers for path, answers in told.answers.items()}
    assert train.attach_endpoint(told.url + "/ssd/v2/").predict(jpeg(4, 4))


def test_classes_that_the_user_gives_or_nobody(told: Told) -> None:
    assert train.attach_endpoint(told.url, classes=["a", "b"]).classes == ("a", "b")
    told.answers["/model"] = [(200, b'{"classes": null, "model": "m1"}')]
    assert train.attach_endpoint(told.url, classes=["a"]).classes == ("a",)
    with pytest.raises(SpecError, match=f"classes: {told.url} does not know them; give --classes"):
        train.attach_endpoint(told.url)


@pytest.mark.parametrize(
    "busy", [(503, b'{"error": "loading"}'), (429, b""), (502, b"<html>"), None]
)
def test_what_is_temporary_is_asked_again(told: Told, busy: Answer | None) -> None:
    told.answers["/model"] = [busy, busy, (200, ABOUT)]
    told.answers["/invocations"] = [busy, (200, FOUND)]
    endpoint = train.attach_endpoint(told.url)
    assert len(endpoint.predict(jpeg(4, 4))) == 2
    assert len(told.asked) == 5


def test_an_answer_that_is_cut_is_temporary(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = train.attach_endpoint(told.url)
    told.cut = 10
    rest(monkeypatch, lambda _: setattr(told, "cut", None))
    assert len(endpoint.predict(jpeg(4, 4))) == 2
    assert len(told.asked) == 3


def test_patience_ends_with_the_reason(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asynchronous, "PATIENCE", 3)
    told.answers["/ping"] = [(503, b'{"error": "the model is being loaded"}')]
    with pytest.raises(JobError, match="503: the model is being loaded") as caught:
        Server(told.url, ("cat",), Service()).wait(sleep=lambda _: None)
    assert caught.value.reason == "the model is being loaded"
    assert len(told.asked) == 3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((400, b'{"error": "the body is not an image"}'), "400: the body is not an image"),
        ((413, b"<h1>too large</h1>"), "413: <h1>too large</h1>"), ((500, b""), "500: Internal"),
        ((301, b""), "301: Moved"), ((200, b"<html>"), "not a list of detections"),
        ((200, b'{"prediction": [[1]]}'), "not a list of detections"),
    ],
)  # fmt: skip
def test_what_is_not_temporary_is_told(told: Told, answer: Answer, why: str) -> None:
    told.answers["/invocations"] = [answer]
    endpoint = train.attach_endpoint(told.url)
    with pytest.raises(JobError, match=why):
        endpoint.predict(jpeg(4, 4))
    assert len(told.asked) == 2


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b"{}", b'{"classes": 5, "model": ""}',
               b'{"classes": [1], "model": ""}', b'{"classes": "ab", "model": ""}',
               b"[" * 100_000],
)  # fmt: skip
def test_another_kind_of_server(told: Told, answer: bytes) -> None:
    told.answers["/model"] = [(200, answer)]
    with pytest.raises(JobError, match=f"{told.url}: it is not a server of recpack-train deploy"):
        train.attach_endpoint(told.url)
    told.answers["/model"] = [(404, b"")]
    with pytest.raises(JobError, match="404: Not Found"):
        train.attach_endpoint(told.url)


def test_what_is_no_http_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_SECONDS", 0.2)
    rest(monkeypatch, lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(JobError, match=f"{url}: no answer within"):
            train.attach_endpoint(url)
    with pytest.raises(JobError, match=f"{url}: can't be reached: Connection refused; start it"):
        train.attach_endpoint(url)
    with pytest.raises(JobError, match="can't be reached"):
        train.attach_endpoint("http://no.such.host.invalid:8080")


@pytest.mark.parametrize(
    "url",
    [
        "http://", "http://:8080", "http://a:port", "http://a:99999", "http://a/?q=1", "http://[::1",
        "http://a b", "http://a/b c", "http://a/\x7f", "http://a/ä", "http://a..b:1",
        "http://" + "a" * 64,
    ],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UsageError, match="write http://host:port"):
        train.attach_endpoint(url)


def test_passwords_are_refused_and_not_shown() -> None:
    for url in ("http://me:secret@host:8080", "http://secret@host", "http://me:secret@host:port"):
        with pytest.raises(UsageError) as caught:
            train.attach_endpoint(url)
        assert "secret" not in str(caught.value)


def test_it_is_not_deleted_from_here(told: Told, typed: Typed) -> None:
    with pytest.raises(UsageError, match="stop it where it runs"):
        train.attach_endpoint(told.url).delete()
    code, _, err = typed("delete", told.url)
    assert (code, "stop it where it runs" in err) == (2, True)


# ---- commands


def test_predict(told: Told, typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg(40, 30))
    drawn = tmp_path / "x.png"
    code, out, err = typed("predict", told.url, str(tmp_path / "cat.jpg"), "--draw", str(drawn))
    assert (code, err) == (0, "")
    assert [one["class"] for one in json.loads(out)] == ["dog"]
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["deploy --local x", "export x y.onnx"])
def test_what_needs_packages_says_so(
    command: str, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    code, _, err = typed(*command.split())
    assert code == 1
    assert "not installed; pip install 'recpack[ssd]'" in err


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import recpack

    folder = tmp_path_factory.mktemp("rec")
    make_voc(folder / "devkit", {"2007": 4})
    recpack.convert(folder / "devkit", folder / "val.rec")
    return folder / "val.rec"


def test_evaluate_goes_on_where_it_ended(
    told: Told, typed: Typed, rec: Path, tmp_path: Path
) -> None:
    import recpack

    with recpack.RecordReader(str(rec)) as records:
        manifest = records.manifest()
        count = len(list(records))
    assert manifest is not None
    about: Callable[[str], bytes] = lambda model: json.dumps(  # noqa: E731
        {"classes": manifest.classes, "model": model}
    ).encode()
    told.answers["/model"] = [(200, about("m1"))]
    told.answers["/invocations"] = [(200, FOUND), (400, b'{"error": "broken"}')]
    command = ("evaluate", told.url, str(rec), "--resume", str(tmp_path / "answers"))
    code, _, err = typed(*command)
    assert (code, "broken" in err, "the same command goes on" in err) == (1, True, True)
    told.asked.clear()
    told.answers["/invocations"] = [(200, FOUND)]
    code, out, _ = typed(*command)
    assert (code, set(json.loads(out))) == (0, {"mAP", "average_precision"})
    assert sum(path == "/invocations" for path, _, _ in told.asked) == count - 1
    told.answers["/model"] = [(200, about("m2"))]
    code, _, err = typed(*command)
    assert (code, "choose another file" in err) == (1, True)


def test_evaluate_compares_the_classes(told: Told, rec: Path) -> None:
    with pytest.raises(SpecError, match=r"classes: .*has.*; http://.* has cat, dog"):
        evaluate_endpoint(train.attach_endpoint(told.url), str(rec))
