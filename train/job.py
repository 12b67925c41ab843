"""Training jobs: status, waiting, and the model to continue from."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import JobError, SpecError
from .logs import LogReader, Metric, parse_metric
from .records import Trained, read_trained
from .service import Service, is_temporary

POLL_SECONDS = 15.0

PATIENCE = 40
"""Failed requests in a row that end the waiting for a job."""

_RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True)
class Status:
    """The status of a job: ``state`` (InProgress, Completed, Failed, Stopping, Stopped), ``phase``
    (Starting, Downloading, Training, …), ``billed`` seconds so far, ``reason`` of a failure."""

    state: str
    phase: str
    billed: int
    reason: str

    @property
    def running(self) -> bool:
        """Whether the job has not ended."""
        return self.state in _RUNNING

    def __str__(self) -> str:
        text = self.state if self.phase in (self.state, "") else f"{self.state}: {self.phase}"
        return f"{text}, {self.billed} s billed" if self.billed else text


@dataclass
class Job:
    """A training job by its name. ``metrics`` are those of the log lines read so far."""

    name: str
    service: Service
    metrics: list[Metric] = field(default_factory=list)
    _logs: LogReader | None = None

    def describe(self) -> dict[str, Any]:
        """The answer of ``describe_training_job``. Raises JobError when there is no such job."""
        client = self.service.client("sagemaker")
        try:
            return dict(client.describe_training_job(TrainingJobName=self.name))
        except client.exceptions.ClientError as error:
            message = error.response["Error"].get("Message", "")
            if any(text in message.lower() for text in ("not found", "could not find")):
                raise JobError(
                    f"{self.name}: there is no such training job in {self.service.region}", message
                ) from error
            raise

    def status(self) -> Status:
        """The current status."""
        return _status(self.describe())

    @property
    def model(self) -> str:
        """The URL of its ``model.tar.gz``. Raises JobError while there is none."""
        description = self.describe()
        artifacts = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        state = description["TrainingJobStatus"]
        if not artifacts or state not in ("Completed", "Stopped"):
            raise JobError(f"{self.name}: it has no model ({_status(description)})")
        return str(artifacts)

    def new_lines(self) -> Iterator[str]:
        """The log's lines since the last call; their metrics are added to ``metrics``."""
        self._logs = self._logs or LogReader(self.name, self.service)
        for line in self._logs.new_lines():
            metric = parse_metric(line)
            if metric is not None:
                self.metrics.append(metric)
            yield line

    def wait(
        self,
        *,
        on_status: Callable[[Status], None] | None = None,
        on_line: Callable[[str], None] | None = None,
        on_metric: Callable[[Metric], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        poll: float = POLL_SECONDS,
    ) -> Job:
        """Wait until the job is done. Calls ``on_status`` at every change, ``on_line`` for every
        line of its log, ``on_metric`` for every metric in it, and asks the service every ``poll``
        seconds. When the service throttles or can't be reached for some minutes, the waiting goes
        on.

        Raises JobError with the service's reason when the job failed or was stopped. When the
        waiting is interrupted, the job continues; ``attach`` finds it again.
        """
        last = None
        failures = 0
        while True:
            try:
                status = self.status()
                if status != last and on_status is not None:
                    on_status(status)
                last = status
                count = len(self.metrics)
                for line in self.new_lines():
                    if on_line is not None:
                        on_line(line)
                    if on_metric is not None:
                        for metric in self.metrics[count:]:
                            on_metric(metric)
                    count = len(self.metrics)
                failures = 0
                if not status.running:
                    break
            except Exception as error:
                failures += 1
                if failures == PATIENCE or not is_temporary(error):
                    raise
            sleep(poll)
        if status.state != "Completed":
            reason = status.reason or "the service gives no reason"
            raise JobError(f"{self.name}: {status.state.lower()}: {reason}", status.reason)
        return self

    def stop(self) -> None:
        """Ask it to stop. What it has learnt so far becomes its model."""
        self.service.client("sagemaker").stop_training_job(TrainingJobName=self.name)

    def history(self, name: str = "mAP") -> dict[int, float]:
        """A metric's last value in each epoch."""
        return {one.epoch: one.value for one in self.metrics if one.name == name}


def _status(description: Mapping[str, Any]) -> Status:
    return Status(
        description["TrainingJobStatus"],
        description.get("SecondaryStatus", ""),
        int(description.get("BillableTimeInSeconds", 0)),
        description.get("FailureReason", ""),
    )


def attach(name: str, service: Service | None = None) -> Job:
    """An existing job. Raises JobError when there is no such job."""
    job = Job(name, service or Service())
    job.describe()
    return job


def jobs(service: Service | None = None, *, contains: str = "") -> Iterator[tuple[str, Status]]:
    """Names and states of this region's training jobs, the newest first."""
    client = (service or Service()).client("sagemaker")
    filters = {"NameContains": contains} if contains else {}
    pages = client.get_paginator("list_training_jobs").paginate(
        SortBy="CreationTime", SortOrder="Descending", **filters
    )
    for page in pages:
        for one in page["TrainingJobSummaries"]:
            yield one["TrainingJobName"], Status(one["TrainingJobStatus"], "", 0, "")


@dataclass(frozen=True)
class Previous:
    """The model that an incremental job continues, and what is known about its training."""

    model: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    train: str | None = None
    """The prefix of its training channel, to find its classes."""
    trained: Trained | None = None
    """What it was trained on, where the job was one of ``fit``."""


def find_previous(model: str | Job, service: Service) -> Previous:
    """Find the model of a job, of its name, or a ``model.tar.gz``, whose path can tell its job."""
    if isinstance(model, str) and model.startswith("s3://"):
        parts = model.split("/")
        if len(parts) > 3 and parts[-2:] == ["output", "model.tar.gz"]:
            try:
                found = find_previous(Job(parts[-3], service), service)
            except JobError:
                found = None
            if found is not None and found.model == model:
                return found
        return Previous(model, trained=read_trained(model, service))
    job = Job(model, service) if isinstance(model, str) else model
    description = job.describe()
    trained_by = description.get("AlgorithmSpecification", {}).get("TrainingImage", "")
    if trained_by and not re.search(r"/object-detection(:|$)", trained_by):
        raise JobError(f"{job.name}: it was trained by another algorithm: {trained_by}")
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in description.get("InputDataConfig", [])
        if "S3DataSource" in channel["DataSource"]
    }
    artifacts = job.model
    return Previous(
        artifacts,
        description.get("HyperParameters", {}),
        channels.get("train"),
        read_trained(artifacts, service),
    )


def demand_same(
    before: Previous,
    hyperparameters: Mapping[str, str],
    classes: Sequence[str],
    classes_before: Sequence[str] | None,
) -> None:
    """Raise SpecError when the model to continue has another network or other classes: such a job
    fails late, or learns wrong names. The message shows both."""
    wrong = []
    for name in ("base_network", "num_classes"):
        earlier, now = before.hyperparameters.get(name), hyperparameters[name]
        if earlier is not None and earlier != now:
            wrong.append(f"{name}: the model to continue has {earlier}, but this job has {now}")
    if classes_before is not None and tuple(classes_before) != tuple(classes):
        wrong.append(
            "classes: the model to continue has "
            f"{', '.join(classes_before)}; this data has {', '.join(classes)}; "
            "pack it with --classes and the earlier manifest"
        )
    if wrong:
        raise SpecError("\n".join(wrong))
