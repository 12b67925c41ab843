"""Tuning: many jobs of one plan, by SageMaker's hyperparameter tuner, for the highest mAP or
accuracy. What can be tuned is in the tables of hyperparameters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .errors import JobError, MissingError, UsageError
from .hyperparameters import Hyperparameters
from .job import PATIENCE, POLL_SECONDS
from .kinds import MEASURES
from .names import unique_name
from .parameters import Parameters
from .planning import Choices, Keywords, Plan, plan
from .request import Request, tags_of
from .service import Service, is_temporary
from .spec import training_request
from .starting import start
from .values import number, whole

_LONGEST_NAME = 32
_MOST_JOBS, _MOST_PARALLEL = 750, 100
_NOT_IN_A_DEFINITION = (
    "TrainingJobName", "HyperParameters", "ProfilerConfig", "ResourceConfig", "Tags",
)  # fmt: skip


def ranges_request(ranges: Mapping[str, str], table: type[Parameters] = Hyperparameters) -> Request:
    """``{"learning_rate": "0.0001..0.01", "optimizer": "sgd,adam"}`` → ``ParameterRanges``. Numbers
    of a range that spans more than a factor of ten are tried by their logarithms. Raises UsageError
    that lists everything that is wrong."""
    found: Request = {f"{kind}ParameterRanges": [] for kind in ("Integer", "Continuous")}
    found["CategoricalParameterRanges"] = []
    wrong = [] if ranges else ["range: give at least one, like learning_rate=0.0001..0.01"]
    for name, text in ranges.items():
        kind = table.tunable.get(name)
        if kind is None:
            wrong.append(f"range: {name} can't be tuned; the names are {', '.join(table.tunable)}")
            continue
        try:
            row = {"Name": name} | _range(table, name, kind, text)
            found[f"{kind}ParameterRanges"].append(row)
        except ValueError as error:
            wrong.append(f"range: {name}={text}: {error}")
    if wrong:
        raise UsageError("\n".join(wrong))
    return {kind: several for kind, several in found.items() if several}


def _range(table: type[Parameters], name: str, kind: str, text: str) -> Request:
    """Raises ValueError with what is wrong."""
    check = next(one.metadata["check"] for one in fields(table) if one.name == name)
    if kind == "Categorical":
        values: list[Any] = text.split(",")
    else:
        read = whole if kind == "Integer" else number
        low, dots, high = text.partition("..")
        values = [read(low), read(high)] if dots else []
        if not dots or values[0] >= values[1]:
            raise ValueError("write the lowest and the highest value like 8..64")
    for value in values:
        if expected := check(value):
            raise ValueError(f"{value!r} is not {expected}")
    if kind == "Categorical":
        return {"Values": values}
    scaling = "Logarithmic" if values[1] > 10 * values[0] else "Linear"
    return {"MinValue": low, "MaxValue": high, "ScalingType": scaling}


@dataclass(frozen=True)
class TuningPlan:
    """A tuning that has passed all checks and has not started. ``plan`` has what all its ``jobs``
    have in common; ``parallel`` of them run at a time."""

    plan: Plan
    ranges: Mapping[str, str]
    jobs: int = 10
    parallel: int = 2

    def __post_init__(self) -> None:
        wrong = [
            f"{name}: {value}; give 1 to {most}"
            for name, value, most in (
                ("jobs", self.jobs, _MOST_JOBS),
                ("parallel", self.parallel, min(_MOST_PARALLEL, max(self.jobs, 1))),
            )
            if not 1 <= value <= most
        ]
        if len(self.plan.spec.job_name) > _LONGEST_NAME:
            wrong.append(f"job_name: {self.plan.spec.job_name!r}; use at most {_LONGEST_NAME}")
        if self.plan.spec.algorithm != "built-in":
            wrong.append(f"algorithm: {self.plan.spec.algorithm}; tune the built-in one")
        if wrong:
            raise UsageError("\n".join(wrong))
        self._ranges()

    def _ranges(self) -> Request:
        return ranges_request(self.ranges, type(self.plan.spec.hyperparameters))

    @property
    def request(self) -> Request:
        """The arguments of ``create_hyper_parameter_tuning_job``."""
        spec = self.plan.spec
        job = training_request(spec)
        static = {k: v for k, v in job["HyperParameters"].items() if k not in self.ranges}
        measure = MEASURES[spec.hyperparameters.kind]
        definition = {k: v for k, v in job.items() if k not in _NOT_IN_A_DEFINITION}
        output = job["OutputDataConfig"] | {"S3OutputPath": self.output}
        return {
            "HyperParameterTuningJobName": spec.job_name,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {
                    "Type": "Maximize",
                    "MetricName": f"validation:{measure}",
                },
                "ResourceLimits": {
                    "MaxNumberOfTrainingJobs": self.jobs,
                    "MaxParallelTrainingJobs": self.parallel,
                },
                "ParameterRanges": self._ranges(),
                "TrainingJobEarlyStoppingType": "Off",
            },
            "TrainingJobDefinition": definition
            | {
                "StaticHyperParameters": static,
                "OutputDataConfig": output,
                "HyperParameterTuningResourceConfig": job["ResourceConfig"],
            },
        } | tags_of(spec.tags)

    @property
    def output(self) -> str:
        """The prefix of the jobs' outputs, and of the record of their data."""
        return f"{self.plan.spec.output.rstrip('/')}/{self.plan.spec.job_name}/"

    def start(self) -> Tuning:
        """Start it; its jobs then cost money. Raises JobError when the service refuses it."""
        record, trained = self.plan.record, self.plan.trained
        service = self.plan.service
        start("hyper_parameter_tuning_job", self.request, record, trained, service)
        return Tuning(self.plan.spec.job_name, service, started=True)


@dataclass(frozen=True)
class Best:
    """The best job of a tuning so far: its ``measure`` (mAP or accuracy) and that one's ``value``,
    and the hyperparameters that were tried in it."""

    job: str
    value: float
    hyperparameters: Mapping[str, str]
    measure: str = "mAP"

    @property
    def mAP(self) -> float:  # as everybody writes it
        """The ``value`` of object detection."""
        return self.value

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "job": self.job, self.measure: self.value, "hyperparameters": self.hyperparameters
        }  # fmt: skip


@dataclass(frozen=True)
class Tuning:
    """A tuning by its name."""

    name: str
    service: Service
    started: bool = False

    def describe(self) -> dict[str, Any]:
        """The answer of ``describe_hyper_parameter_tuning_job``. Raises MissingError, a JobError,
        when there is no such tuning."""
        found = self.service.look(
            "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=self.name
        )
        if found is None:
            raise MissingError(
                f"{self.name}: there is no such tuning in {self.service.region}",
                self.name, "HyperParameterTuningJob",
            )  # fmt: skip
        return found

    def best(self) -> Best | None:
        """The best job so far; None before one has ended."""
        return _best(self.describe())

    def stop(self) -> None:
        """Ask it and its jobs to stop."""
        client = self.service.client("sagemaker")
        client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)

    def wait(
        self,
        *,
        on_status: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        poll: float = POLL_SECONDS,
    ) -> Best:
        """Wait until it is done, and return its best job. Calls ``on_status`` at every change. Goes
        on like ``Job.wait`` where the service can't be asked for some minutes. Raises JobError when
        it failed, or when none of its jobs told an mAP or accuracy."""
        try:
            found = self._until_done(on_status, sleep, poll)
        except BaseException as error:
            again = self.service.command("status", self.name, "--wait")
            error.add_note(f"the tuning {self.name} goes on; wait for it: {again}")
            raise
        best = _best(found)
        state = found["HyperParameterTuningJobStatus"]
        if state == "Failed" or best is None:
            reason = found.get("FailureReason") or "none of its jobs told its metric"
            raise JobError(f"{self.name}: {state.lower()}: {reason}", reason)
        return best

    def _until_done(
        self, on_status: Callable[[str], None] | None, sleep: Callable[[float], None], poll: float
    ) -> dict[str, Any]:
        last, failures = "", 0
        while True:
            try:
                found = self.describe()
                failures = 0
                if describe(found) != last and on_status is not None:
                    on_status(describe(found))
                last = describe(found)
                if found["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"):
                    return found
            except Exception as error:
                failures += 1
                hidden = self.started and not last and isinstance(error, MissingError)
                if failures == PATIENCE or not (hidden or is_temporary(error)):
                    raise
            sleep(poll)


def describe(description: Mapping[str, Any]) -> str:
    """A tuning's state and the numbers of its jobs by state, for people to read."""
    counts = description.get("TrainingJobStatusCounters", {})
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    state = description["HyperParameterTuningJobStatus"]
    return f"{state}: {shown}" if shown else str(state)


def _best(description: Mapping[str, Any]) -> Best | None:
    best = description.get("BestTrainingJob") or {}
    metric = best.get("FinalHyperParameterTuningJobObjectiveMetric")
    if metric is None:
        return None
    measure = metric["MetricName"].rpartition(":")[2]
    return Best(best["TrainingJobName"], metric["Value"], best["TunedHyperParameters"], measure)


@dataclass(frozen=True, kw_only=True)
class TuneChoices(Choices):
    """The keywords of ``tune``: those of ``plan``, and these."""

    ranges: Mapping[str, str]
    jobs: int = 10
    parallel: int = 2


@Keywords(TuneChoices)
def plan_tuning(train: str, validation: str, output: str, choices: dict[str, Any]) -> TuningPlan:
    """Check everything that can be checked without paying, and describe the tuning.

    ``ranges``: a name and ``"lowest..highest"`` or ``"one,two"`` for each hyperparameter that is
    tried, see ``ranges_request``. The other arguments are those of ``plan``.
    """
    own = {name: choices[name] for name in ("ranges", "jobs", "parallel") if name in choices}
    rest = {name: value for name, value in choices.items() if name not in own}
    ranges = own.pop("ranges", {})
    if text := ranges.get("mini_batch_size"):  # the same for both algorithms
        ranges_request({"mini_batch_size": text})
    if twice := sorted(ranges.keys() & {k for k, v in rest.items() if v is not None}):
        raise UsageError(f"range: {', '.join(twice)}: also set to one value; leave that out")
    for name, why in (
        ("checkpoints", "its jobs would share them"), ("keep_alive", "it keeps no machines"),
        ("local", "it runs on SageMaker"),
    ):  # fmt: skip
        if rest.get(name) not in (None, False):
            raise UsageError(f"{name}: not for a tuning, {why}; leave it out")
    if "mini_batch_size" in ranges:  # the highest must fit the data
        rest["mini_batch_size"] = whole(ranges["mini_batch_size"].partition("..")[2])
    rest["job_name"] = rest.get("job_name") or unique_name("tune", _LONGEST_NAME)
    common = plan(train, validation, output, **rest)
    spec = replace(common.spec, checkpoints=None)
    return TuningPlan(replace(common, spec=spec), ranges, **own)


@Keywords(TuneChoices)
def tune(train: str, validation: str, output: str, choices: dict[str, Any]) -> Tuning:
    """Start a tuning; see ``plan_tuning`` for the keywords."""
    return plan_tuning(train, validation, output, **choices).start()
