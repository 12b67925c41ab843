"""The command line ``recpack-train``. Exit codes: 0 done, 1 refused or failed, 2 usage, 130
interrupted."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from .errors import JobError, TrainError, UsageError
from .request import INFERENCE_TYPE, Machine, Network
from .service import Service

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .logs import Metric

Command = Callable[[argparse.Namespace, Service], object]
"""Runs a command; its result is printed as JSON."""


def console() -> NoReturn:
    """The console script."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = parser().parse_args(arguments)
    service = Service(args.region, args.endpoint_url)
    command: Command = args.command
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(
            f"warning: {message}", file=sys.stderr
        )
        warnings.simplefilter("always", UserWarning)
        try:
            answer = command(args, service)
        except KeyboardInterrupt as error:
            name = getattr(args, "name", None)
            hint = f"; see recpack-train status {name}" if name else ""
            print(f"interrupted; a started job or endpoint continues{hint}", file=sys.stderr)
            _print_notes(error)
            return 130
        except Exception as error:
            if not isinstance(error, (TrainError, OSError)) and not _is_aws(error):
                raise
            print(f"recpack-train: {error}", file=sys.stderr)
            _print_notes(error)
            return 2 if isinstance(error, UsageError) else 1
    if answer is not None:
        try:
            print(json.dumps(answer, indent=2), flush=True)
        except BrokenPipeError:
            # the reader of the output is gone; Python must not complain again when it exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 0


def _is_aws(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, (BotoCoreError, ClientError))


def _fit(args: argparse.Namespace, service: Service) -> object:
    from .planning import plan

    hyperparameters: dict[str, Any] = {**_pairs(args.set, "--set")}
    job_plan = plan(
        args.train, args.validation, args.output, role=args.role, model=args.model,
        job_name=args.job_name, service=service, image=args.image, tags=_pairs(args.tag, "--tag"),
        network=Network(subnets=_split(args.subnets), security_groups=_split(args.security_groups),
                        volume_kms_key=args.volume_kms_key, output_kms_key=args.output_kms_key),
        **{one.name: getattr(args, one.name) for one in fields(Machine)},
        **hyperparameters,
    )  # fmt: skip
    if args.dry_run:
        return job_plan.request
    job = job_plan.start()
    args.name = job.name
    print(f"started {job.name}", file=sys.stderr)
    if args.wait:
        job.wait(on_status=_print_status, on_line=_print_line, on_metric=_print_metric)
        return {"job": job.name, "model": job.model, "mAP": job.history()}
    return {"job": job.name}


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
        job.wait(on_line=print, on_status=_print_status, on_metric=_print_metric)
    else:
        for line in job.new_lines():
            print(line)
    if args.plot is not None:
        from .plots import plot_jobs

        plot_jobs([job], args.plot)


def _stop(args: argparse.Namespace, service: Service) -> None:
    from .job import attach

    attach(args.name, service).stop()


def _deploy(args: argparse.Namespace, service: Service) -> object:
    from .hosting import deploy

    endpoint = deploy(
        args.model, name=args.endpoint_name, classes=_split(args.classes) or None, role=args.role,
        service=service, instance_type=args.instance_type, instance_count=args.instance_count,
        image=args.image, wait=not args.no_wait, update=args.update, on_made=_print_endpoint,
    )  # fmt: skip
    return {"endpoint": endpoint.name, "classes": list(endpoint.classes)}


def _predict(args: argparse.Namespace, service: Service) -> object:
    from .endpoint import attach_endpoint

    endpoint = attach_endpoint(args.name, service, classes=_split(args.classes) or None)
    found = endpoint.predict(args.image)
    if args.draw is not None:
        found.draw(args.image, args.threshold).save(args.draw)
    shown = found.above(args.threshold)
    return [
        {"class": one.name, "class_id": one.class_id, "score": one.score, "box": one.box,
         "pixels": box}
        for one, box in zip(shown.found, shown.pixels(), strict=True)
    ]  # fmt: skip


def _evaluate(args: argparse.Namespace, service: Service) -> object:
    import recpack

    from .detections import evaluate, truth_of
    from .endpoint import attach_endpoint

    endpoint = attach_endpoint(args.name, service, classes=_split(args.classes) or None)
    with recpack.RecordReader(args.rec) as records:
        pairs = (
            (endpoint.predict(record.image_bytes), truth_of(record.boxes)) for record in records
        )
        found = evaluate(
            pairs, endpoint.classes, overlap=args.overlap, eleven_points=args.eleven_points
        )
    return {"mAP": found.mean, "average_precision": found.average_precision}


def _delete(args: argparse.Namespace, service: Service) -> None:
    from .hosting import delete_endpoint

    deleted = delete_endpoint(args.name, service)
    if not deleted:
        raise JobError(f"{args.name}: there is no such endpoint in {service.region}")
    print(f"deleted {', '.join(deleted)}", file=sys.stderr)


def _print_endpoint(endpoint: Endpoint) -> None:
    print(
        f"endpoint {endpoint.name}: it costs money until recpack-train delete {endpoint.name}",
        file=sys.stderr,
    )


def _print_notes(error: BaseException) -> None:
    for note in getattr(error, "__notes__", ()):
        print(f"recpack-train: {note}", file=sys.stderr)


def _print_status(status: object) -> None:
    print(status, file=sys.stderr)


def _print_line(line: str) -> None:
    print(line, file=sys.stderr)


def _print_metric(metric: Metric) -> None:
    if metric.name == "mAP":
        print(f"epoch {metric.epoch}: mAP {metric.value:.3f}", file=sys.stderr)


def _pairs(arguments: Sequence[str], option: str) -> dict[str, str]:
    wrong = [argument for argument in arguments if "=" not in argument]
    if wrong:
        raise UsageError(f"{option}: {wrong[0]!r}; write name=value")
    pairs = (argument.partition("=") for argument in arguments)
    return {name: value for name, _, value in pairs}


def _split(text: str | None) -> list[str]:
    return [name for name in (text or "").split(",") if name]


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="recpack-train",
        description="Amazon SageMaker object detection, from the .rec and manifest of recpack.",
    )
    subs = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Command, help: str, example: str) -> argparse.ArgumentParser:
        sub = subs.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".",
            epilog=f"example: recpack-train {name} {example}",
        )  # fmt: skip
        sub.set_defaults(command=run)
        sub.add_argument("--region", help="default: the configured AWS region")
        sub.add_argument("--endpoint-url", metavar="URL", help="of a service that is not AWS")
        return sub

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
    deploy = command("deploy", _deploy, "host a job's model", "voc-1")
    deploy.add_argument("model", metavar="JOB|s3://…/model.tar.gz")
    deploy.add_argument("--endpoint-name", metavar="NAME")
    deploy.add_argument(
        "--classes", metavar="A,B", help="class names (default: those of the manifest)"
    )
    deploy.add_argument("--role", metavar="ARN")
    deploy.add_argument("--instance-type", default=INFERENCE_TYPE)
    deploy.add_argument("--instance-count", type=int, default=1)
    deploy.add_argument("--image", metavar="URI", help="container (default: the region's)")
    deploy.add_argument("--no-wait", action="store_true")
    deploy.add_argument(
        "--update", action="store_true",
        help="replace the model of the endpoint that --endpoint-name names, while it serves",
    )  # fmt: skip
    predict = command(
        "predict", _predict, "detect objects in an image", "voc-1 cat.jpg --draw x.png"
    )
    predict.add_argument("name", metavar="ENDPOINT")
    predict.add_argument("image", type=Path)
    predict.add_argument("--threshold", type=float, default=0.3)
    predict.add_argument("--draw", type=Path, metavar="FILE", help="write the image with the boxes")
    predict.add_argument("--classes", metavar="A,B")
    evaluate = command(
        "evaluate", _evaluate, "measure the mAP of an endpoint on a .rec", "voc-1 val.rec"
    )
    evaluate.add_argument("name", metavar="ENDPOINT")
    evaluate.add_argument("rec", metavar="REC")
    evaluate.add_argument("--overlap", type=float, default=0.5)
    evaluate.add_argument("--eleven-points", action="store_true", help="compute it as VOC2007 does")
    evaluate.add_argument("--classes", metavar="A,B")
    delete = command("delete", _delete, "delete an endpoint and its model", "voc-1")
    delete.add_argument("name", metavar="ENDPOINT")
    return parser


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
