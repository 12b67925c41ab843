"""A job's log lines, and the metrics in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .service import Service

GROUP = "/aws/sagemaker/TrainingJobs"

_NUMBER = r"\(?(?P<value>[-+0-9.eE]+|nan|inf)\)?"
_EPOCH = r"#quality_metric: host=\S+, epoch=(?P<epoch>\d+),"
_METRICS = {
    "smooth_l1": re.compile(rf"{_EPOCH} batch=(?P<batch>\d+) train smooth_l1 <loss>={_NUMBER}"),
    "cross_entropy": re.compile(
        rf"{_EPOCH} batch=(?P<batch>\d+) train cross_entropy <loss>={_NUMBER}"
    ),
    "mAP": re.compile(rf"{_EPOCH} validation mAP <score>={_NUMBER}"),
    "throughput": re.compile(rf"#throughput_metric: host=\S+, train throughput={_NUMBER}"),
    "progress": re.compile(rf"#progress_metric: host=\S+, completed {_NUMBER} %"),
}


class Metric(NamedTuple):
    """A number from the log: ``smooth_l1``, ``cross_entropy`` (losses), ``mAP`` (0 to 1),
    ``throughput`` (records per second) or ``progress`` (percent). ``epoch`` and ``batch`` are -1
    when the line has none."""

    name: str
    value: float
    epoch: int = -1
    batch: int = -1


def parse_metric(line: str) -> Metric | None:
    """The metric in a line; None when there is none."""
    if "_metric:" not in line:
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


class LogReader:
    """Reads the lines of a job's log streams, each once. A job can have no lines, or none yet."""

    def __init__(self, job_name: str, service: Service) -> None:
        self._prefix = job_name + "/"
        self._service = service
        self._tokens: dict[str, str | None] = {}

    def new_lines(self) -> Iterator[str]:
        """The lines since the last call."""
        logs = self._service.client("logs")
        missing = logs.exceptions.ResourceNotFoundException
        try:
            pages = logs.get_paginator("describe_log_streams").paginate(
                logGroupName=GROUP, logStreamNamePrefix=self._prefix
            )
            for page in pages:
                for stream in page["logStreams"]:
                    self._tokens.setdefault(stream["logStreamName"], None)
        except missing:
            return
        for stream in list(self._tokens):
            yield from self._stream_lines(logs.get_log_events, stream)

    def _stream_lines(self, get: Callable[..., Any], stream: str) -> Iterator[str]:
        while True:
            token = self._tokens[stream]
            more = {"nextToken": token} if token else {}
            page = get(logGroupName=GROUP, logStreamName=stream, startFromHead=True, **more)
            yield from (event["message"] for event in page["events"])
            following = page.get("nextForwardToken")
            if following is None or following == token:
                return
            self._tokens[stream] = following
