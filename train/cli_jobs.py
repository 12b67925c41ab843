"""The commands of ``recpack-train`` on training jobs."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from .cli_parts import Add, pairs, say, split
from .request import Machine, Network
from .service import Service

if TYPE_CHECKING:
    from .logs import Metric


def add_commands(command: Add) -> None:
    """Add them to the command line."""
    _fit_options(
        command(
            "fit", _fit, "start a training job",
            "--train s3://b/p/train/train.rec --validation s3://b/p/val/val.rec "
            "--output s3://b/p/models --set epochs=5 --wait",
        )
    )  # fmt: skip
    status = command(
        "status", _status, "show the state of a job, or of all jobs", "voc-2026-01-01-00-00-00"
    )
    status.add_argument("name", nargs="?", metavar="JOB")
    logs = command("logs", _logs, "show a job's log", "voc-1 --follow")
    logs.add_argument("name", metavar="JOB")
    logs.add_argument("--follow", action="store_true", help="print new lines until the job is done")
    logs.add_argument("--plot", metavar="FILE.png", help="plot losses and mAP by epoch")
    stop = command("stop", _stop, "stop a job; its model is kept", "voc-1")
    stop.add_argument("name", metavar="JOB")


def _fit(args: argparse.Namespace, service: Service) -> object:
    from .planning import plan

    hyperparameters: dict[str, Any] = {**pairs(args.set, "--set")}
    job_plan = plan(
        args.train, args.validation, args.output, role=args.role, model=args.model,
        job_name=args.job_name, service=service, image=args.image, tags=pairs(args.tag, "--tag"),
        network=Network(subnets=split(args.subnets), security_groups=split(args.security_groups),
                        volume_kms_key=args.volume_kms_key, output_kms_key=args.output_kms_key),
        **{one.name: getattr(args, one.name) for one in fields(Machine)},
        **hyperparameters,
    )  # fmt: skip
    if args.dry_run:
        return job_plan.request
    job = job_plan.start()
    args.name = job.name
    say(f"started {job.name}")
    if args.wait:
        job.wait(on_status=say, on_line=say, on_metric=_print_metric)
        return {"job": job.name, "model": job.model, "mAP": job.history()}
    return {"job": job.name}


def _fit_options(fit: argparse.ArgumentParser) -> None:
    fit.add_argument("--train", required=True, metavar="s3://…/train.rec")
    fit.add_argument("--validation", required=True, metavar="s3://…/val.rec")
    fit.add_argument("--output", required=True, metavar="s3://…/")
    fit.add_argument("--role", metavar="ARN", help="execution role (default: your own)")
    fit.add_argument(
        "--model",
        metavar="JOB|s3://…/model.tar.gz",
        help="continue training this model (incremental)",
    )
    fit.add_argument(
        "--set", action="append", default=[], metavar="name=value", help="a hyperparameter"
    )
    fit.add_argument("--job-name", metavar="N")
    for one in fields(Machine):
        flag = "--" + one.name.replace("_", "-")
        help = one.metadata["help"]
        if one.default is False:
            fit.add_argument(flag, action="store_true", help=help)
            continue
        if one.default is not None:
            help += " (default: %(default)s)"
        hint = get_type_hints(Machine)[one.name]
        choices = get_args(hint) if get_origin(hint) is Literal else None
        number = int if hint in (int, int | None) else str
        shown: dict[str, Any] = (
            {"choices": choices} if choices else {"metavar": one.metadata["metavar"]}
        )
        fit.add_argument(flag, default=one.default, type=number, help=help, **shown)
    fit.add_argument("--image", metavar="URI", help="container (default: the region's)")
    fit.add_argument("--tag", action="append", default=[], metavar="key=value")
    fit.add_argument("--subnets", metavar="A,B")
    fit.add_argument("--security-groups", metavar="A,B")
    fit.add_argument("--volume-kms-key", metavar="KEY")
    fit.add_argument("--output-kms-key", metavar="KEY")
    fit.add_argument("--wait", action="store_true", help="wait until it is done, and print its log")
    fit.add_argument(
        "--dry-run", action="store_true", help="print the request as JSON, send nothing"
    )


def _status(args: argparse.Namespace, service: Service) -> object:
    from .job import attach, jobs

    if args.name is None:
        return [{"job": name, "state": status.state} for name, status in jobs(service)]
    job = attach(args.name, service)
    status = job.status()
    for _ in job.new_lines():
        pass
    return {
        "job": job.name, "state": status.state, "phase": status.phase,
        "billed_seconds": status.billed, "reason": status.reason, "mAP": job.history(),
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
    from .job import attach

    attach(args.name, service).stop()


def _print_metric(metric: Metric) -> None:
    if metric.name == "mAP":
        say(f"epoch {metric.epoch}: mAP {metric.value:.3f}")
