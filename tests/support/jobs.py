"""Training jobs by the command line: two packed channels, and a job that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import recpack
from tests.support.aws import ROLE, Aws
from tests.support.hosts import Typed
from tests.support.s3server import Blob, S3Server

TRAIN, VALIDATION = "s3://bucket/voc/train/train.rec", "s3://bucket/voc/val/val.rec"
OUTPUT = "s3://bucket/voc/models"
DATA = ("--train", TRAIN, "--validation", VALIDATION, "--output", OUTPUT, "--role", ROLE)
RECORD = "voc/models/voc-1/recpack.json"
MODEL = "voc/models/voc-1/output/model.tar.gz"


def packed_objects(devkit: Path) -> dict[str, Blob]:
    """The objects of both channels in the bucket ``bucket``."""
    server = S3Server()
    for url, year in ((TRAIN, "2007"), (VALIDATION, "2012")):
        recpack.convert(
            devkit, url, year=year, classes="voc", endpoint_url=server.url, jobs=1,
            segment_size="5MiB",
        )  # fmt: skip
    server.close()
    return server.objects


def fit(typed: Typed, *options: str, name: str = "voc-1") -> tuple[int, str, str]:
    return typed("fit", *DATA, "--job-name", name, *options)


def trained(aws: Aws, typed: Typed) -> None:
    """A job that has ended."""
    assert fit(typed, "--wait")[0] == 0
    assert aws.jobs["voc-1"]["TrainingJobStatus"] == "Completed"


def put_model(s3: Any, output: str, job: str) -> None:
    """What a job that moto takes for completed has learnt."""
    bucket, _, prefix = output.removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=f"{prefix}/{job}/output/model.tar.gz", Body=b"model")
