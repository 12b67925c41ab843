"""Commands of ``recpack-train`` against the stand-in of AWS, in this process and without a network
or a pause."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache

import pytest

from tests.support.aws import Aws
from tests.support.aws_http import Direct
from train import hosting
from train.batch import Batch
from train.endpoint import Endpoint
from train.service import Service

MODELS = "s3://hosting/models"
Typed = Callable[..., tuple[int, str, str]]
"""Runs a command line: exit code, output, errors."""


def trained() -> Aws:
    """SageMaker without anything in it, and two trained models."""
    aws = Aws()
    for job, classes in (("voc-1", ["cat", "dog"]), ("voc-2", ["cat", "dog", "cow"])):
        record = {"version": 1, "classes": classes, "data": {}}
        aws.objects[f"hosting/models/{job}/recpack.json"] = json.dumps(record).encode()
        aws.objects[f"hosting/models/{job}/output/model.tar.gz"] = b"m"
    return aws


def model(job: str = "voc-1") -> str:
    return f"{MODELS}/{job}/output/model.tar.gz"


@cache
def _session(attempts: int) -> Direct:
    return Direct(Aws(), attempts)  # clients take long to make


def connect(monkeypatch: pytest.MonkeyPatch, aws: Aws, attempts: int = 1) -> Service:
    """All commands use this AWS; ``attempts`` as botocore counts them."""
    session = _session(attempts)
    session.aws = aws
    monkeypatch.setattr("train.cli.Service", lambda region, url: Service(region, url, session))
    return Service(session=session)


def rest(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """What the commands do between two questions."""
    for function in (hosting.deploy, hosting.delete_endpoint, Endpoint.wait, Batch.wait,
                     Batch.finish):  # fmt: skip
        monkeypatch.setitem(function.__kwdefaults__, "sleep", sleep)
    monkeypatch.setattr(time, "sleep", sleep)
