"""Training jobs: started, watched, gone on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import JobError, SpecError
from .logs import LogReader, Metric, parse_metric
from .service import Service, may_pass

if TYPE_CHECKING:
    from recpack import Manifest

POLL_SECONDS = 15.0

_PATIENCE = 40
"""Times in a row that the service may not answer while a job is waited for."""

_RUNNING = ("InProgress", "Stopping")


@dataclass(frozen=True)
class Status:
    """Where a job is: ``state`` (InProgress, Completed, Failed, Stopping, Stopped), ``phase``
    (Starting, Downloading, Training, …), seconds ``billed`` so far, ``reason`` of a failure."""

    state: str
    phase: str
    billed: int
    reason: str

    @property
    def running(self) -> bool:
        """Whether it goes on changing."""
        return self.state in _RUNNING

    def __str__(self) -> str:
        text = self.state if self.phase in (self.state, "") else f"{self.state}: {self.phase}"
        return f"{text}, {self.billed} s billed" if self.billed else text


@dataclass
class Job:
    """A training job by its name. ``metrics`` is what its log has told so far."""

    name: str
    service: Service
    metrics: list[Metric] = field(default_factory=list)
    _logs: LogReader | None = None

    def describe(self) -> dict[str, Any]:
        """What ``describe_training_job`` says; JobError when there is no such job."""
        client = self.service.client("sagemaker")
        try:
            return dict(client.describe_training_job(TrainingJobName=self.name))
        except client.exceptions.ClientError as error:
            text = error.response["Error"].get("Message", "")
            if any(words in text.lower() for words in ("not found", "could not find")):
                raise JobError(
                    f"{self.name}: there is no such training job in {self.service.region}", text
                ) from error
            raise

    def status(self) -> Status:
        """Where it is now."""
        return _status(self.describe())

    @property
    def model(self) -> str:
        """Its ``model.tar.gz``; JobError while there is none."""
        described = self.describe()
        artifacts = described.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        if not artifacts:
            raise JobError(f"{self.name}: it has no model ({_status(described)})")
        return str(artifacts)

    def new_lines(self) -> Iterator[str]:
        """The log's lines since the last call; the numbers in them go to ``metrics``."""
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
        """Until it is done: ``on_status`` at every change, ``on_line`` for every line of its log,
        ``on_metric`` for every number in them. ``poll`` seconds lie between two looks; a service
        that throttles or can't be reached for some minutes is asked again.

        Raises JobError, with the service's reason, when it failed or was stopped. The job goes on
        when the waiting is interrupted: ``attach`` comes back to it.
        """
        seen = None
        unanswered = 0
        while True:
            try:
                status = self.status()
                if status != seen and on_status is not None:
                    on_status(status)
                seen = status
                told = len(self.metrics)
                for line in self.new_lines():
                    if on_line is not None:
                        on_line(line)
                    if on_metric is not None:
                        for metric in self.metrics[told:]:
                            on_metric(metric)
                    told = len(self.metrics)
                unanswered = 0
                if not status.running:
                    break
            except Exception as error:
                unanswered += 1
                if unanswered == _PATIENCE or not may_pass(error):
                    raise
            sleep(poll)
        if status.state != "Completed":
            reason = status.reason or "the service gives no reason"
            raise JobError(f"{self.name}: {status.state.lower()}: {reason}", status.reason)
        return self

    def stop(self) -> None:
        """Ask it to stop; what it has learnt is kept as its model."""
        self.service.client("sagemaker").stop_training_job(TrainingJobName=self.name)

    def history(self, name: str = "mAP") -> dict[int, float]:
        """A metric's last value in each epoch."""
        return {one.epoch: one.value for one in self.metrics if one.name == name}


def _status(described: Mapping[str, Any]) -> Status:
    return Status(
        described["TrainingJobStatus"],
        described.get("SecondaryStatus", ""),
        int(described.get("BillableTimeInSeconds", 0)),
        described.get("FailureReason", ""),
    )


def attach(name: str, service: Service | None = None) -> Job:
    """A job that was started before; JobError when there is none of this name."""
    job = Job(name, service or Service())
    job.describe()
    return job


def jobs(service: Service | None = None, *, contains: str = "") -> Iterator[tuple[str, Status]]:
    """Names and states of this region's training jobs, the newest first."""
    client = (service or Service()).client("sagemaker")
    chosen = {"NameContains": contains} if contains else {}
    pages = client.get_paginator("list_training_jobs").paginate(
        SortBy="CreationTime", SortOrder="Descending", **chosen
    )
    for page in pages:
        for one in page["TrainingJobSummaries"]:
            yield one["TrainingJobName"], Status(one["TrainingJobStatus"], "", 0, "")


@dataclass(frozen=True)
class Previous:
    """The model that an incremental job goes on from, and what is known of how it came to be."""

    model: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    train: str | None = None
    """The channel that it was trained on, to find its classes."""


def previous(model: str | Job, service: Service) -> Previous:
    """A job, its name, or a ``model.tar.gz`` (whose job is found by its path, if it can be)."""
    if isinstance(model, str) and model.startswith("s3://"):
        parts = model.split("/")
        if len(parts) > 3 and parts[-2:] == ["output", "model.tar.gz"]:
            try:
                found = previous(Job(parts[-3], service), service)
            except JobError:
                return Previous(model)
            if found.model == model:
                return found
        return Previous(model)
    job = Job(model, service) if isinstance(model, str) else model
    described = job.describe()
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in described.get("InputDataConfig", [])
        if "S3DataSource" in channel["DataSource"]
    }
    return Previous(job.model, described.get("HyperParameters", {}), channels.get("train"))


def demand_same(
    before: Previous,
    hyperparameters: Mapping[str, str],
    classes: Manifest,
    classes_before: Manifest | None,
) -> None:
    """Refuse to go on from a model of another network or of other classes: such a job fails late,
    or learns the wrong names. Raises SpecError that shows both."""
    wrong = []
    for name in ("base_network", "num_classes"):
        earlier, now = before.hyperparameters.get(name), hyperparameters[name]
        if earlier is not None and earlier != now:
            wrong.append(f"{name}: the model to go on from has {earlier}, this job {now}")
    if classes_before is not None and classes_before.classes != classes.classes:
        wrong.append(
            "classes: the model to go on from knows "
            f"{', '.join(classes_before.classes)}; this data has {', '.join(classes.classes)}; "
            "pack it with --classes and the earlier manifest"
        )
    if wrong:
        raise SpecError("\n".join(wrong))
