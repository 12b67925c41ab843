"""The commands of ``recpack-train`` on training jobs and tunings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from .cli_parts import Add, add_network, local_path, network_of, pairs, say, whole_number
from .errors import MissingError
from .kinds import MEASURES
from .service import Service
from .spec import Algorithm, Local, Machine

if TYPE_CHECKING:
    from .job import Job
    from .logs import Metric
    from .tuning import Best, Tuning


_JOB = "a job of SageMaker, or the folder of one on this machine, like models/voc-1"


def add_commands(command: Add) -> None:
    """Add them to the command line."""
    data = (
        "--train s3://b/p/train/train.rec --validation s3://b/p/val/val.rec "
        "--output s3://b/p/models"
    )
    fit = command(
        "fit", _fit, "start a training job, on SageMaker or on this machine",
        f"{data} --set epochs=5 --wait",
    )  # fmt: skip
    _job_options(fit, local=True)
    fit.add_argument(
        "--algorithm", choices=get_args(Algorithm), default="built-in",
        help="SageMaker's, or recpack's own in AWS's PyTorch container (default: %(default)s)",
    )  # fmt: skip
    tune = command(
        "tune", _tune, "start many jobs that look for the highest mAP or accuracy",
        f"{data} --range learning_rate=0.0001..0.01 --range optimizer=sgd,adam --jobs 20",
    )  # fmt: skip
    _job_options(tune, without=("checkpoints", "keep_alive"))
    tune.add_argument(
        "--range", action="append", default=[], metavar="name=LOW..HIGH",
        help="what to try of a hyperparameter: lowest and highest value, or a list: sgd,adam",
    )  # fmt: skip
    tune.add_argument(
        "--jobs", type=whole_number, default=10, metavar="N", help="jobs (default: %(default)s)"
    )
    tune.add_argument(
        "--parallel", type=whole_number, default=2, metavar="N",
        help="jobs at a time (default: %(default)s); few learn more from each other",
    )  # fmt: skip
    status = command(
        "status", _status, "show the state of a job or tuning, or of all jobs",
        "voc-2026-01-01-00-00-00",
    )  # fmt: skip
    status.add_argument("name", nargs="?", metavar="JOB", help=f"{_JOB} (default: all of them)")
    status.add_argument("--wait", action="store_true", help="wait until it is done")
    logs = command("logs", _logs, "show a job's log", "voc-1 --follow")
    logs.add_argument("name", metavar="JOB", help=_JOB)
    logs.add_argument("--follow", action="store_true", help="print new lines until the job is done")
    logs.add_argument(
        "--plot", type=local_path, metavar="FILE.png", help="plot losses, mAP, accuracy by epoch"
    )
    stop = command("stop", _stop, "stop a job or tuning; its model is kept", "voc-1")
    stop.add_argument("name", metavar="JOB", help=_JOB)


def _choices(args: argparse.Namespace, service: Service) -> dict[str, Any]:
    """The keywords of ``plan`` that the options say."""
    own = (*fields(Machine), *fields(Local))
    machine = {one.name: getattr(args, one.name, one.default) for one in own}
    names: tuple[str, ...] = ("role", "model", "job_name", "image")
    if "algorithm" in args:
        names = (*names, "algorithm")
    return {
        **{name: getattr(args, name) for name in names}, **machine, "service": service,
        "tags": pairs(args.tag, "--tag"), "network": network_of(args),
        **pairs(args.set, "--set"),
    }  # fmt: skip


def _fit(args: argparse.Namespace, service: Service) -> object:
    from .local import LocalJob
    from .planning import plan

    job_plan = plan(args.train, args.validation, args.output, **_choices(args, service))
    for note in job_plan.notes:
        say(note)
    if args.dry_run:
        return job_plan.request
    job = job_plan.start()
    say(f"started {job.name}")
    if isinstance(job, LocalJob) and not args.wait:
        say(f"follow it: {job.command('logs', '--follow')}")
    if args.wait:
        job.wait(on_status=say, on_line=say, on_metric=_print_metric)
        return {"job": job.name, "model": job.model, **job.measures()}
    return {"job": job.name}


def _tune(args: argparse.Namespace, service: Service) -> object:
    from .tuning import plan_tuning

    tuning_plan = plan_tuning(
        args.train, args.validation, args.output, ranges=pairs(args.range, "--range"),
        jobs=args.jobs, parallel=args.parallel, **_choices(args, service),
    )  # fmt: skip
    for note in tuning_plan.plan.notes:
        say(note)
    if args.dry_run:
        return tuning_plan.request
    tuning = tuning_plan.start()
    say(f"started {tuning.name}")
    if args.wait:
        return {"tuning": tuning.name} | _shown(tuning, tuning.wait(on_status=say))
    return {"tuning": tuning.name}


def _shown(tuning: Tuning, best: Best | None) -> dict[str, Any]:
    from .job import Job

    model = Job(best.job, tuning.service).model if best is not None else None
    return {"best": best and best.shown(), "model": model}


def _job_options(
    parser: argparse.ArgumentParser, without: Sequence[str] = (), *, local: bool = False
) -> None:
    here = dict.fromkeys(("data", "output", "model"), "")
    if local:
        here = {
            "data": "; with --local a .rec, also by path",
            "output": "; with --local a folder",
            "model": "; with --local also a job's folder or a file",
        }
    data = (
        "; or an augmented .manifest, or a prefix of images with JSON files beside it"
        + here["data"]
    )
    parser.add_argument(
        "--train", required=True, metavar="s3://…/train.rec", help=f"the images to learn{data}"
    )
    parser.add_argument(
        "--validation",
        required=True,
        metavar="s3://…/val.rec",
        help=f"those it is measured on{data}",
    )
    parser.add_argument(
        "--output", required=True, metavar="s3://…/",
        help=f"the prefix for JOB/output/model.tar.gz{here['output']}",
    )  # fmt: skip
    parser.add_argument("--role", metavar="ARN", help="execution role (default: your own)")
    parser.add_argument(
        "--model",
        metavar="JOB|s3://…/model.tar.gz",
        help="continue training this model (default: what use_pretrained_model says)"
        + here["model"],
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="name=value",
        help="a hyperparameter; can be given several times (default: the algorithm's)",
    )  # fmt: skip
    parser.add_argument("--job-name", metavar="N", help="default: one with the time")
    _add_fields(parser, Machine, without)
    if local:
        _add_fields(parser.add_argument_group("training on this machine"), Local)
    parser.add_argument("--image", metavar="URI", help="container (default: the region's)")
    add_network(parser)
    parser.add_argument("--wait", action="store_true", help="wait until it is done, and show how")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the request as JSON, send nothing"
    )


def _add_fields(
    parser: argparse._ActionsContainer, kind: type[Machine | Local], without: Sequence[str] = ()
) -> None:
    """Options from a dataclass."""
    for one in fields(kind):
        if one.name in without:
            continue
        flag = "--" + one.name.replace("_", "-")
        help = one.metadata["help"]
        if one.default is False:
            parser.add_argument(flag, action="store_true", help=help)
            continue
        if "default" not in help:
            help += f" (default: {'none' if one.default is None else '%(default)s'})"
        hint = get_type_hints(kind)[one.name]
        choices = get_args(hint) if get_origin(hint) is Literal else None
        number = whole_number if hint in (int, int | None) else str
        shown: dict[str, Any] = (
            {"choices": choices} if choices else {"metavar": one.metadata["metavar"]}
        )
        parser.add_argument(flag, default=one.default, type=number, help=help, **shown)


def _job_or_tuning(name: str, service: Service) -> Job | Tuning:
    from .job import attach
    from .tuning import Tuning

    try:
        return attach(name, service)
    except MissingError as error:
        tuning = Tuning(name, service)
        try:
            tuning.describe()
        except MissingError as other:
            error.kinds += other.kinds
            raise error from None
        return tuning


def _status(args: argparse.Namespace, service: Service) -> object:
    from .job import Job, jobs
    from .tuning import describe

    if args.name is None:
        return [{"job": name, "state": status.state} for name, status in jobs(service)]
    found = _job_or_tuning(args.name, service)
    if not isinstance(found, Job):
        best = found.wait(on_status=say) if args.wait else found.best()
        return {"tuning": found.name, "state": describe(found.describe())} | _shown(found, best)
    if args.wait:
        found.wait(on_status=say)
    status = found.status()
    found.read_log()
    return {
        "job": found.name, "state": status.state, "phase": status.phase,
        "billed_seconds": status.billed, "reason": status.reason, "model": status.model,
        **found.measures(),
    }  # fmt: skip


def _logs(args: argparse.Namespace, service: Service) -> None:
    from .job import attach

    job = attach(args.name, service)
    if args.follow:
        job.wait(on_line=print, on_status=say, on_metric=_print_metric)
    else:
        for line in job.new_lines():
            print(line)
    if args.plot is not None:
        from .plots import plot_jobs

        plot_jobs([job], args.plot)


def _stop(args: argparse.Namespace, service: Service) -> None:
    _job_or_tuning(args.name, service).stop()


def _print_metric(metric: Metric) -> None:
    if metric.name in MEASURES.values():
        say(f"epoch {metric.epoch}: {metric.name} {metric.value:.3f}")
