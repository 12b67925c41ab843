"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from tests.support.aws import Aws, serving
from tests.support.hosts import Typed
from tests.support.jobs import MODEL, packed_objects
from tests.support.s3server import Blob, S3Server
from train.cli import main
from train.job import Job
from train.tuning import Tuning


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command line."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture(scope="session")
def packed(devkit: Path) -> dict[str, Blob]:
    """The objects of two packed channels."""
    return packed_objects(devkit)


@pytest.fixture
def s3(packed: dict[str, Blob], monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """They, and the model of a job that is to come."""
    server = S3Server()
    server.objects |= deepcopy(packed)
    server.objects[MODEL] = Blob(b"model", "0")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    yield server
    server.close()


@pytest.fixture
def aws(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    del s3
    aws = Aws()
    with serving(aws) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        for function in (Job.wait, Tuning.wait):
            monkeypatch.setitem(function.__kwdefaults__, "sleep", lambda _: None)
        yield aws
