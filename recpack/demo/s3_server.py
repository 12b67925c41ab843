"""A real S3 server on this machine (moto), for the demo and for experiments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from recpack.errors import RecpackError

_START_SECONDS = 60
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "loopback",
    "AWS_SECRET_ACCESS_KEY": "loopback",
    "AWS_REGION": "us-east-1",
}
"""The server accepts any credentials."""


def is_installed() -> bool:
    """Whether the extra ``demo`` is installed."""
    return find_spec("moto") is not None and find_spec("flask_cors") is not None


@contextmanager
def loopback_server() -> Iterator[str]:
    """The URL of a server in a process of its own, which ends with the block; its objects are in
    its memory."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = "import sys; from moto.server import main; main(sys.argv[1:])"
    server = subprocess.Popen(
        [sys.executable, "-c", command, "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must not reach it: aborting an upload needs the server
    )
    try:
        _await(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RecpackError("the local S3 server does not start")


@contextmanager
def credentials() -> Iterator[None]:
    """Put the server's credentials into the environment, and hide all others."""
    others = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
    variables = CREDENTIALS | dict.fromkeys(others)
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
