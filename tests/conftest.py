from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.devkits import make_voc

settings.register_profile(
    "recpack",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("recpack")


class Oracle:
    """MXNet in its own environment; see tests/oracle.py."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, os.fspath(Path(__file__).with_name("oracle.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if os.environ.get("CI") else None,
            text=True,
        )
        assert self._answer() == {}, "MXNet does not start"

    def __call__(self, call: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        request = {"call": call, "arguments": arguments}
        self._process.stdin.write(json.dumps(request, default=os.fspath) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "MXNet's process ended"
        return json.loads(line)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process.wait()


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    python = os.environ.get("RECPACK_MXNET_PYTHON")
    if not python:
        pytest.skip("no MXNet here: make test sets RECPACK_MXNET_PYTHON")
    oracle = Oracle(python)
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean devkit of two years; read only."""
    return make_voc(tmp_path_factory.mktemp("clean") / "VOCdevkit", {"2007": 70, "2012": 50})
