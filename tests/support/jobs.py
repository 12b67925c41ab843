"""Training jobs by the command line: two packed channels, and a job that has ended."""

from __future__ import annotations

from tests.support.aws import ROLE, Aws
from tests.support.hosts import Typed

TRAIN, VALIDATION = "s3://bucket/voc/train/train.rec", "s3://bucket/voc/val/val.rec"
OUTPUT = "s3://bucket/voc/models"
DATA = ("--train", TRAIN, "--validation", VALIDATION, "--output", OUTPUT, "--role", ROLE)
RECORD = "voc/models/voc-1/recpack.json"
MODEL = "voc/models/voc-1/output/model.tar.gz"


def fit(typed: Typed, *options: str, name: str = "voc-1") -> tuple[int, str, str]:
    return typed("fit", *DATA, "--job-name", name, *options)


def trained(aws: Aws, typed: Typed) -> None:
    """A job that has ended."""
    assert fit(typed, "--wait")[0] == 0
    assert aws.jobs["voc-1"]["TrainingJobStatus"] == "Completed"
