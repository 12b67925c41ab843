"""Downloads from a real HTTP server that does what servers do on bad days."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recpack.cli.app import main
from recpack.demo import download as downloading
from recpack.demo.download import ARCHIVES, Archive, download
from recpack.errors import ConfigError, DataError, RecpackError, SinkError
from recpack.progress import Progress
from recpack.storage.files import Claim

pytestmark = pytest.mark.once

DATA = os.urandom(3_000_000)
NAME = "VOCtrainval_06-Nov-2007.tar"
LEFT = NAME + ".recpack-0123456789abcdef"

Behaviour = Callable[["Handler", int], None]
"""Answers a request: the handler, and how many came before."""


class Handler(BaseHTTPRequestHandler):
    """Serves DATA, ranges included, as the server's behaviour says."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        try:
            self.server.behaviour(self, len(self.server.requests) - 1)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    @property
    def start(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        return int(found[1]) if found else 0

    def send(
        self, data: bytes = DATA, *, start: int | None = None, most: int | None = None
    ) -> None:
        """The rest of the data from ``start``, the request's by default; ``most`` bytes of it."""
        start = self.start if start is None else start
        if start and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][:most])
        self.wfile.flush()
        self.close_connection = most is not None

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour: Behaviour = lambda handler, _: handler.send()
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pub"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    md5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(ARCHIVES, "voc2007", Archive("voc2007/", NAME, md5))
    monkeypatch.setattr(downloading, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(downloading, "_LONGEST_PAUSE", 0.02)
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, **options: object) -> list[Path]:
    return download(["voc2007"], folder, mirror=server.url, **options)


def test_an_archive_comes_and_stays(server: Server, tmp_path: Path) -> None:
    seen: list[Progress] = []
    (path,) = fetch(server, tmp_path / "a" / "b", progress=seen.append)
    assert path == tmp_path / "a" / "b" / NAME
    assert path.read_bytes() == DATA
    assert [p.name for p in path.parent.iterdir()] == [NAME]
    assert seen[-1] == Progress(NAME, len(DATA), len(DATA), len(DATA), "bytes")
    assert fetch(server, tmp_path / "a" / "b") == [path]
    assert server.requests == [(f"/pub/voc2007/{NAME}", None)]


def test_cut_again_and_again(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda handler, _: handler.send(most=400_000)
    (path,) = fetch(server, tmp_path)
    assert path.read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [
        None, *(f"bytes={start}-" for start in range(400_000, len(DATA), 400_000)),
    ]  # fmt: skip


def test_what_an_interrupted_run_left_is_continued(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / LEFT
    partial.write_bytes(DATA[:1_234_567])
    fetch(server, tmp_path)
    assert server.requests == [(f"/pub/voc2007/{NAME}", "bytes=1234567-")]
    assert (tmp_path / NAME).read_bytes() == DATA
    (tmp_path / NAME).rename(partial)  # all of it was there
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_what_is_not_ours_is_not_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(DATA[:7])
    (tmp_path / LEFT).symlink_to(tmp_path / "victim")
    os.link(tmp_path / "victim", tmp_path / LEFT.replace("0", "1"))
    (tmp_path / (NAME + ".recpack-partial")).symlink_to(tmp_path / "victim")
    fetch(server, tmp_path)
    assert server.requests == [(f"/pub/voc2007/{NAME}", None)]
    assert (tmp_path / NAME).read_bytes() == DATA
    assert (tmp_path / "victim").read_bytes() == DATA[:7]


def test_one_run_at_a_time(server: Server, tmp_path: Path) -> None:
    with (
        Claim(tmp_path / NAME),
        pytest.raises(SinkError, match="another run is writing it"),
    ):
        fetch(server, tmp_path)
    assert server.requests == []


def test_what_was_left_of_another_version_is_given_up(server: Server, tmp_path: Path) -> None:
    (tmp_path / LEFT).write_bytes(b"old" * 1000)
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == ["bytes=3000-", None]
    (tmp_path / NAME).rename(tmp_path / LEFT)
    with (tmp_path / LEFT).open("ab") as file:
        file.write(b"too much")
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.behaviour = lambda handler, count: handler.send(start=0, most=(1_000_000, None)[count])
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=1000000-"]


def test_a_server_that_sends_another_range(server: Server, tmp_path: Path) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        handler.send(start=(0, 2_000_000, 500_000, None)[count], most=(1_000_000, None)[count > 0])

    server.behaviour = behaviour
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert len(server.requests) <= 4


def test_a_server_that_stalls(server: Server, tmp_path: Path) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        handler.send(most=1_000_000 if count == 0 else None)
        if count == 0:
            time.sleep(1.5)

    server.behaviour = behaviour
    fetch(server, tmp_path, timeout=0.3)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=1000000-"]


def test_a_server_that_is_out_of_order_for_a_while(server: Server, tmp_path: Path) -> None:
    def behaviour(handler: Handler, count: int) -> None:
        if count < 4:
            handler.send_error((500, 503, 429, 408)[count])
        else:
            handler.send()

    server.behaviour = behaviour
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_mirror_without_folders(server: Server, tmp_path: Path) -> None:
    def behaviour(handler: Handler, _: int) -> None:
        if "voc2007/" in handler.path:
            handler.send_error(404)
        else:
            handler.send()

    server.behaviour = behaviour
    fetch(server, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert server.requests[-1][0] == f"/pub/{NAME}"


def give_up(handler: Handler, _: int) -> None:
    handler.send_error(503)


def missing(handler: Handler, _: int) -> None:
    handler.send_error(404)


def forbidden(handler: Handler, _: int) -> None:
    handler.send_error(403)


def wrong(handler: Handler, _: int) -> None:
    handler.send(b"<html>not what you wanted</html>")


@pytest.mark.parametrize(
    ("behaviour", "message", "requests"),
    [
        (give_up, "503.*--mirror", 6),
        (missing, "404.*--mirror", 2),
        (forbidden, "403.*--mirror", 1),
        (wrong, "its MD5 is .* this is another file", 1),
    ],
)
def test_sources_that_fail(
    server: Server, tmp_path: Path, behaviour: Behaviour, message: str, requests: int
) -> None:
    server.behaviour = behaviour
    with pytest.raises(DataError, match=message):
        fetch(server, tmp_path)
    assert len(server.requests) == requests
    assert list(tmp_path.iterdir()) == []


def test_what_can_be_done_nothing_about(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    (tmp_path / "file").write_text("")
    for folder, names, mirror, error, message in (
        (tmp_path, ["voc2007"], server.url, DataError, "exists and has another MD5"),
        (tmp_path / "file", ["voc2007"], server.url, SinkError, "can't be written"),
        (tmp_path, ["voc2008"], server.url, ConfigError, "names: must be from voc2007, .*voc2008"),
        (tmp_path, [], server.url, ConfigError, "names: must be from .*nothing"),
        (tmp_path, ["voc2012"], "file:///etc", ConfigError, "mirror: .*http"),
        (tmp_path, ["voc2012"], "http://127.0.0.1:9", DataError, "refused.*--mirror"),
    ):
        with pytest.raises(RecpackError, match=message) as caught:
            download(names, folder, mirror=mirror)
        assert caught.type is error
    assert (tmp_path / NAME).read_bytes() == b"mine"
    assert server.requests == []


def test_the_command(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "voc2007", str(tmp_path), "--mirror", server.url]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / NAME}\n"
    assert err.count("flickr's terms of use") == 1
    assert main(["download", "voc1999", str(tmp_path)]) == 2
