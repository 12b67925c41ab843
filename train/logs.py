"""A job's log lines, and the metrics in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .files import open_file
from .service import Service

GROUP = "/aws/sagemaker/TrainingJobs"

_NUMBER = r"\(?(?P<value>[-+0-9.eE]+|nan|inf)\)?"
_EPOCH = r"#quality_metric: host=\S+, epoch=(?P<epoch>\d+),"
_OF_CLASSES = r"\bEpoch\[(?P<epoch>\d+)\]"
_METRICS = {
    "smooth_l1": re.compile(rf"{_EPOCH} batch=(?P<batch>\d+) train smooth_l1 <loss>={_NUMBER}"),
    "cross_entropy": re.compile(
        rf"{_EPOCH} batch=(?P<batch>\d+) train cross_entropy <loss>={_NUMBER}"
    ),
    "mAP": re.compile(rf"{_EPOCH} validation mAP <score>={_NUMBER}"),
    "accuracy": re.compile(rf"{_OF_CLASSES} Validation-accuracy={_NUMBER}"),
    "train_accuracy": re.compile(rf"{_OF_CLASSES} Train-accuracy={_NUMBER}"),
    "throughput": re.compile(rf"#throughput_metric: host=\S+, train throughput={_NUMBER}"),
    "progress": re.compile(rf"#progress_metric: host=\S+, completed {_NUMBER} %"),
}


class Metric(NamedTuple):
    """A number from the log: ``smooth_l1``, ``cross_entropy`` (losses), ``mAP`` (0 to 1),
    ``throughput`` (records per second) or ``progress`` (percent); of image classification
    ``accuracy`` and ``train_accuracy`` (0 to 1). ``epoch`` and ``batch`` are -1 when the line has
    none."""

    name: str
    value: float
    epoch: int = -1
    batch: int = -1


def parse_metric(line: str) -> Metric | None:
    """The metric in a line; None when there is none."""
    if "_metric:" not in line and "-accuracy=" not in line:
        return None
    for name, pattern in _METRICS.items():
        found = pattern.search(line)
        if found is not None:
            groups = found.groupdict(-1)
            try:
                value = float(groups["value"])
            except ValueError:
                return None
            return Metric(name, value, int(groups.get("epoch", -1)), int(groups.get("batch", -1)))
    return None


class FileReader:
    """Reads the lines of a log file, each once. There can be no file yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> list[str]:
        """The whole lines since the last call."""
        try:
            with open_file(self._path) as file:
                file.seek(self._offset)
                found: bytes = file.read()
        except FileNotFoundError:
            return []
        whole = found[: found.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").split("\n")[:-1]


class LogReader:
    """Reads the lines of a job's log streams, each once. A job can have no lines, or none yet."""

    def __init__(self, job_name: str, service: Service) -> None:
        self._prefix = job_name + "/"
        self._service = service
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> list[str]:
        """The lines since the last call; those of several machines by their time. What fails is
        read again by the next call."""
        logs = self._service.client("logs")
        names: list[str] = []
        try:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=GROUP, logStreamNamePrefix=self._prefix
            )
            for page in pages:
                names += (stream["logStreamName"] for stream in page["logStreams"])
        except logs.exceptions.ResourceNotFoundException:
            return []
        tokens: dict[str, str] = {}
        events: list[dict[str, Any]] = []
        for name in names:
            for page in self._pages(logs, name):
                tokens[name] = page["nextForwardToken"]
                events += page["events"]
        self._tokens |= tokens
        if len(names) > 1:
            events.sort(key=lambda event: event.get("timestamp", 0))
        return [event["message"] for event in events]

    def _pages(self, logs: Any, stream: str) -> Iterator[dict[str, Any]]:
        """Pages that follow those read before, until the service repeats its token."""
        token = self._tokens.get(stream)
        while True:
            more = {"nextToken": token} if token else {}
            page = logs.get_log_events(
                logGroupName=GROUP, logStreamName=stream, startFromHead=True, **more
            )
            if "nextForwardToken" not in page:
                page["nextForwardToken"] = token or ""
            yield page
            if page["nextForwardToken"] in (token, ""):
                return
            token = page["nextForwardToken"]
