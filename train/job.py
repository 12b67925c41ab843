"""Training jobs: status, waiting, and the model to continue from."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .errors import JobError, MissingError, SpecError
from .kinds import Kind, kind_of_image
from .logs import FileReader, LogReader, Metric, parse_metric
from .parameters import Parameters
from .records import Trained, read_trained
from .script_mode import decoded, is_ours
from .service import Service, is_temporary

POLL_SECONDS = 15.0

PATIENCE = 40
"""Failed requests in a row that end the waiting for a job."""

RUNNING = ("InProgress", "Stopping")

_LATE_READS = 2
_LATE_SECONDS = 5.0
"""Looks for lines that the log gets after the job's end."""

_ENDINGS = {
    "MaxRuntimeExceeded": "it ran for its longest time, --max-run",
    "MaxWaitTimeExceeded": "it ran and waited for spot machines for its longest time, --max-wait",
    "Interrupted": "its spot machines were taken away",
    "Stopped": "it was told to stop",
}
"""Why a job stopped, by its phase, where the service gives no reason."""


@dataclass(frozen=True)
class Status:
    """The status of a job: ``state`` (InProgress, Completed, Failed, Stopping, Stopped), ``phase``
    (Starting, Downloading, Training, …), ``billed`` seconds so far, ``reason`` of a failure or
    stop, URL of its ``model``."""

    state: str
    phase: str
    billed: int
    reason: str
    model: str = ""

    @property
    def running(self) -> bool:
        """Whether the job has not ended."""
        return self.state in RUNNING

    def __str__(self) -> str:
        text = self.state if self.phase in (self.state, "") else f"{self.state}: {self.phase}"
        return f"{text}, {self.billed} s billed" if self.billed else text


@dataclass
class Job:
    """A training job by its name. ``metrics`` are those of the log lines read so far. One that has
    just been ``started`` may not be visible yet."""

    name: str
    service: Service
    metrics: list[Metric] = field(default_factory=list)
    started: bool = False
    _logs: LogReader | FileReader | None = None
    _poll: ClassVar[float] = POLL_SECONDS
    _late_reads: ClassVar[int] = _LATE_READS

    def describe(self) -> dict[str, Any]:
        """The answer of ``describe_training_job``. Raises MissingError, a JobError, when there is
        no such job."""
        found = self.service.look("describe_training_job", TrainingJobName=self.name)
        if found is None:
            raise MissingError(
                f"{self.name}: there is no such training job in {self.service.region}",
                self.name, "TrainingJob",
            )  # fmt: skip
        return found

    def status(self) -> Status:
        """The current status."""
        return _status(self.describe())

    @property
    def model(self) -> str:
        """The URL of its ``model.tar.gz``. Raises JobError while there is none."""
        return _model(self.describe())

    def new_lines(self) -> Iterator[str]:
        """The log's lines since the last call; their metrics are added to ``metrics``."""
        self._logs = self._logs or self._open_log()
        for line in self._logs.new_lines():
            metric = parse_metric(line)
            if metric is not None:
                self.metrics.append(metric)
            yield line

    def _open_log(self) -> LogReader | FileReader:
        return LogReader(self.name, self.service)

    def command(self, verb: str, *options: str) -> str:
        """The line to type for a command of ``recpack-train`` on this job."""
        return self.service.command(verb, self.name, *options)

    def read_log(
        self,
        on_line: Callable[[str], None] | None = None,
        on_metric: Callable[[Metric], None] | None = None,
    ) -> bool:
        """Hand on the new lines and their metrics. What can't be read for a moment is read by the
        next call; False, with a warning, when there is no use in that."""
        from botocore.exceptions import BotoCoreError, ClientError

        count = len(self.metrics)
        try:
            for line in self.new_lines():
                if on_line is not None:
                    on_line(line)
                if on_metric is not None:
                    for metric in self.metrics[count:]:
                        on_metric(metric)
                count = len(self.metrics)
        except (BotoCoreError, ClientError) as error:
            if is_temporary(error):
                return True
            warnings.warn(f"{self.name}: its log can't be read: {error}", stacklevel=2)
            return False
        return True

    def wait(
        self,
        *,
        on_status: Callable[[Status], None] | None = None,
        on_line: Callable[[str], None] | None = None,
        on_metric: Callable[[Metric], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        poll: float | None = None,
    ) -> Job:
        """Wait until the job is done. Calls ``on_status`` at every change, ``on_line`` for every
        line of its log, ``on_metric`` for every metric in it, and asks the service every ``poll``
        seconds (None: 15; on this machine one). The waiting goes on when the service throttles or
        can't be reached for some minutes, and when the log can't be read.

        Raises JobError with the service's reason when the job failed or was stopped, and with the
        model that it kept. When the waiting ends in another way, the job continues; a note of the
        exception has the command that comes back.
        """
        try:
            found = self._until_done(on_status, on_line, on_metric, sleep, poll or self._poll)
        except BaseException as error:
            see, wait = self.command("status"), self.command("logs", "--follow")
            error.add_note(f"the job {self.name} goes on; see {see}, or wait: {wait}")
            raise
        status = _status(found)
        if status.state != "Completed":
            model = f"; its model so far: {status.model}" if status.model else ""
            reason = status.reason or "the service gives no reason"
            raise JobError(f"{self.name}: {status.state.lower()}: {reason}{model}", status.reason)
        return self

    def _until_done(
        self,
        on_status: Callable[[Status], None] | None,
        on_line: Callable[[str], None] | None,
        on_metric: Callable[[Metric], None] | None,
        sleep: Callable[[float], None],
        poll: float,
    ) -> dict[str, Any]:
        """The last description."""
        last: Status | None = None
        failures = 0
        readable = True
        late = self._late_reads
        while True:
            try:
                if last is None or last.running:
                    found = self.describe()
                    status = _status(found)
                    if status != last and on_status is not None:
                        on_status(status)
                    last = status
                failures = 0
            except Exception as error:
                failures += 1
                hidden = self.started and last is None and isinstance(error, MissingError)
                if failures == PATIENCE or not (hidden or is_temporary(error)):
                    raise
            if readable and last is not None:
                readable = self.read_log(on_line, on_metric)
            if last is not None and not last.running:
                late -= 1
                if late < 0 or not readable:
                    return found
            sleep(poll if last is None or last.running else min(poll, _LATE_SECONDS))

    def stop(self) -> None:
        """Ask it to stop. What it has learnt so far becomes its model."""
        self.service.client("sagemaker").stop_training_job(TrainingJobName=self.name)

    def history(self, name: str = "mAP") -> dict[int, float]:
        """A metric's last value in each epoch."""
        return {one.epoch: one.value for one in self.metrics if one.name == name}

    def measures(self) -> dict[str, dict[int, float]]:
        """The history of what its model is measured by: mAP, or accuracy."""
        name = "accuracy" if any(one.name == "accuracy" for one in self.metrics) else "mAP"
        return {name: self.history(name)}


def _status(description: Mapping[str, Any]) -> Status:
    state, phase = description["TrainingJobStatus"], description.get("SecondaryStatus", "")
    ending = "" if state in (*RUNNING, "Completed") else _ENDINGS.get(phase, "")
    model = description.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")
    return Status(
        state,
        phase,
        int(description.get("BillableTimeInSeconds", 0)),
        description.get("FailureReason") or ending,
        model if state in ("Completed", "Stopped") else "",
    )


def _model(description: Mapping[str, Any]) -> str:
    status = _status(description)
    if not status.model:
        why = f"{status}: {status.reason}" if status.reason else f"{status}"
        raise JobError(f"{description['TrainingJobName']}: it has no model ({why})")
    return status.model


def attach(name: str, service: Service | None = None) -> Job:
    """An existing job; one on this machine by its folder. Raises JobError when there is no such
    job."""
    from .local import LocalJob, is_place

    if is_place(name):
        return LocalJob.at(name, service)
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
    ours: bool = False
    """Whether it was trained in another container than the built-in algorithms'."""
    container: str = ""

    @property
    def kind(self) -> Kind | None:
        """Of the model; None where nobody knows."""
        if self.ours:
            return "detection"
        return (self.trained and self.trained.kind) or kind_of_image(self.container)


def find_previous(model: str | Job, service: Service) -> Previous:
    """Find the model of a job, of its name, or a ``model.tar.gz``, whose path can tell its job.
    Raises JobError: no such job, another algorithm's, or one without a model."""
    if isinstance(model, str) and model.startswith("s3://"):
        parts = model.split("/")
        if len(parts) > 4 and parts[-2:] == ["output", "model.tar.gz"]:
            try:
                description = Job(parts[-3], service).describe()
            except MissingError:
                description = {}
            if model in _models(description):
                return _previous(description, service)
        return Previous(model, trained=read_trained(model, service))
    job = Job(model, service) if isinstance(model, str) else model
    return _previous(job.describe(), service)


def _models(description: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the model of a job is, or is to be."""
    if not description:
        return ()
    output = description.get("OutputDataConfig", {}).get("S3OutputPath", "").rstrip("/")
    planned = f"{output}/{description['TrainingJobName']}/output/model.tar.gz"
    return planned, description.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")


def _previous(description: Mapping[str, Any], service: Service) -> Previous:
    image = description.get("AlgorithmSpecification", {}).get("TrainingImage", "")
    hyperparameters = description.get("HyperParameters", {})
    ours = is_ours(hyperparameters)
    if ours:
        hyperparameters = decoded(hyperparameters)
    elif image and kind_of_image(image) is None:
        ours = {"base_network", "num_classes"} <= hyperparameters.keys()
        if not ours:
            raise JobError(
                f"{description['TrainingJobName']}: it was trained by another algorithm: {image}"
            )
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in description.get("InputDataConfig", [])
        if "S3DataSource" in channel["DataSource"]
    }
    model = _model(description)
    return Previous(
        model,
        hyperparameters,
        channels.get("train"),
        read_trained(model, service),
        ours,
        image,
    )


def demand_same(
    before: Previous,
    learning: Parameters,
    classes: Sequence[str],
    classes_before: Sequence[str] | None,
) -> None:
    """Raise SpecError when the model to continue has another network or other classes: such a job
    fails late, or learns wrong names. The message shows both."""
    if before.kind not in (None, learning.kind):
        raise SpecError(
            f"model: {before.model} is of {before.kind}, and the labels of this data are for "
            f"{learning.kind}; leave out the model, or give data like its own"
        )
    wrong = []
    hyperparameters = learning.as_strings()
    for name in (*learning.fixed, "num_classes"):
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
