"""The process of the commands: streams, signals, limits. No traceback, and the promised codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import recpack
from tests.sinks.test_killed import FINAL, SLOW, names, start, wait_for_bytes
from tests.support.conditions import CONDITIONS, Outcome
from tests.support.devkits import make_voc

pytestmark = pytest.mark.once


class _Refuse(BaseHTTPRequestHandler):
    """Answers every request with an error whose message wants to move the cursor."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"__type": "ValidationException", "message": "no \\u001b[31mjob\\u202e"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuse)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_voc(tmp_path_factory.mktemp("small") / "VOCdevkit", {"2007": 12})
    recpack.convert(folder, folder.parent / "train.rec")
    return folder


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_command_under(condition: str, small: Path, refusing: str, tmp_path: Path) -> None:
    for path in small.parent.glob("train.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    script = (
        f"import sys; sys.path.insert(0, {os.getcwd()!r}); from tests.support.conditions import *; "
        f"sweep({str(small)!r}, {refusing!r}, {condition!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = [Outcome(*one) for one in json.loads(done.stdout)]
    assert len(outcomes) > 20
    for outcome in outcomes:
        assert outcome.code in (0, 1, 2), outcome
        assert "Traceback" not in outcome.err, outcome
        # without memory Python itself writes that finalizers failed
        assert "Exception ignored" not in outcome.err or condition == "little memory", outcome
        assert not {"\x1b", "\u202e"} & {*outcome.out, *outcome.err}, outcome
        if condition == "none":
            assert outcome.out or outcome.code, outcome
        if outcome.code and "standard error" not in condition and "reader" not in condition:
            assert outcome.err.strip(), outcome
