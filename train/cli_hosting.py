"""The commands of ``recpack-train`` on endpoints and batch jobs."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from .cli_models import add_local_options, demand_not_here, serve_here
from .cli_parts import Add, add_network, local_path, network_of, pairs, say, split, whole_number
from .errors import MissingError, TrainError, UsageError
from .request import INFERENCE_TYPE
from .service import Service

if TYPE_CHECKING:
    from .batch import Batch
    from .classes import Classification
    from .detections import Detections
    from .endpoint import Endpoint

_CLASSES = "class names in the order of their ids (default: those that the model was trained on)"
_ENDPOINT = "name of the endpoint, or http://… of deploy --local"


def add_commands(command: Add) -> None:
    """Add them to the command line."""
    deploy = command("deploy", _deploy, "host a job's model", "voc-1")
    _making_options(deploy)
    deploy.add_argument(
        "--endpoint-name", metavar="NAME",
        help="name of the endpoint (default: the job's, with the time)",
    )  # fmt: skip
    deploy.add_argument(
        "--update", action="store_true",
        help="replace the model of the endpoint that --endpoint-name names, while it serves",
    )  # fmt: skip
    deploy.add_argument(
        "--serverless", metavar="MB[,CALLS]",
        help="no instances: memory of 1024 to 6144 MB, and most calls at once (default: 5)",
    )  # fmt: skip
    deploy.add_argument(
        "--async", dest="results", metavar="s3://…/",
        help="an asynchronous endpoint, whose answers go there (default: it answers at once)",
    )  # fmt: skip
    deploy.add_argument("--no-wait", action="store_true", help="do not wait until it serves")
    add_local_options(deploy)
    predict = command(
        "predict", _predict, "detect objects in an image, or tell its class",
        "voc-1 cat.jpg --draw x.png",
    )  # fmt: skip
    predict.add_argument("endpoint", metavar="ENDPOINT", help=_ENDPOINT)
    predict.add_argument(
        "image", type=local_path, metavar="IMAGE", help="file of any kind that OpenCV reads"
    )
    _finding_options(predict, "FILE", "write the image with the boxes, or the classes")
    evaluate = command(
        "evaluate", _evaluate, "measure the mAP or accuracy of an endpoint on a .rec",
        "voc-1 val.rec",
    )  # fmt: skip
    evaluate.add_argument("endpoint", metavar="ENDPOINT", help=_ENDPOINT)
    evaluate.add_argument("rec", metavar="REC", help=".rec file: path or s3://…")
    evaluate.add_argument(
        "--overlap", type=float, default=0.5, metavar="IOU",
        help="least overlap with an object, 0 to 1 (default: %(default)s)",
    )  # fmt: skip
    evaluate.add_argument("--eleven-points", action="store_true", help="compute it as VOC2007 does")
    evaluate.add_argument(
        "--top-k", type=whole_number, default=5, metavar="K",
        help="where each image has one class: it counts among so many (default: %(default)s)",
    )  # fmt: skip
    evaluate.add_argument(
        "--resume", metavar="FILE",
        help="keep the answers in this file, and do not ask again for those that it has",
    )  # fmt: skip
    evaluate.add_argument("--classes", metavar="A,B", help=_CLASSES)
    transform = command(
        "transform", _transform, "run a model over all images below an S3 prefix, in a batch job",
        "voc-1 s3://b/images/ s3://b/found/ --draw drawn",
    )  # fmt: skip
    _making_options(transform)
    transform.add_argument("images", metavar="s3://…/images/", help="prefix of the images")
    transform.add_argument("output", metavar="s3://…/output/", help="prefix of the answers")
    transform.add_argument(
        "--name", metavar="NAME", help="name of the batch job (default: the job's, with the time)"
    )
    _finding_options(transform, "DIR", "write the images with the boxes", classes=False)
    transform.add_argument(
        "--no-wait", action="store_true", help="do not wait; the command results does it later"
    )
    results = command(
        "results", _results, "wait for a batch job, print what it found, delete the model it made",
        "voc-1-batch --draw drawn",
    )  # fmt: skip
    results.add_argument("batch", metavar="NAME", help="name of the batch job")
    _finding_options(results, "DIR", "write the images with the boxes")
    endpoints = command(
        "endpoints", _endpoints, "list endpoints: what they run on, and calls of the last day", ""
    )
    endpoints.add_argument(
        "--contains", default="", metavar="TEXT",
        help="only those with this in their names (default: all)",
    )  # fmt: skip
    cost = command(
        "cost", _cost, "show what an instance costs, by AWS's price list",
        "ml.g5.xlarge --for training --hours 3",
    )  # fmt: skip
    cost.add_argument("instance_type", metavar="TYPE", help="machine type, like ml.g5.xlarge")
    cost.add_argument(
        "--for", dest="use", choices=("training", "hosting", "transform"), default="training",
        help="what it is used for (default: %(default)s)",
    )  # fmt: skip
    cost.add_argument(
        "--hours", type=float, default=1.0, metavar="N", help="how long (default: %(default)s)"
    )
    cost.add_argument(
        "--count", type=whole_number, default=1, metavar="N", help="how many (default: %(default)s)"
    )
    delete = command(
        "delete", _delete, "delete an endpoint and its model, or what is left of them", "voc-1"
    )
    delete.add_argument("endpoint", metavar="NAME", help="of an endpoint, or of what is left of it")


def _making_options(sub: argparse.ArgumentParser) -> None:
    """Those of the commands that make something from a model."""
    sub.add_argument("model", metavar="JOB|s3://…/model.tar.gz", help="a job, or its model")
    sub.add_argument("--classes", metavar="A,B", help=_CLASSES)
    sub.add_argument("--role", metavar="ARN", help="execution role (default: your own)")
    sub.add_argument("--image", metavar="URI", help="container (default: the region's)")
    sub.add_argument(
        "--instance-type", default=INFERENCE_TYPE, metavar="T",
        help="machine type (default: %(default)s)",
    )  # fmt: skip
    sub.add_argument(
        "--instance-count", type=whole_number, default=1, metavar="N",
        help="number of machines (default: %(default)s)",
    )  # fmt: skip
    add_network(sub, traffic=False)


def _making(args: argparse.Namespace, service: Service) -> dict[str, Any]:
    network = network_of(args)
    if bool(network.subnets) != bool(network.security_groups):
        raise UsageError("network: give both --subnets and --security-groups, or none of them")
    return {
        "model": args.model, "classes": split(args.classes) or None, "role": args.role,
        "service": service, "image": args.image, "instance_type": args.instance_type,
        "instance_count": args.instance_count, "tags": pairs(args.tag, "--tag"),
        "network": network,
    }  # fmt: skip


def _finding_options(
    sub: argparse.ArgumentParser, metavar: str, help: str, *, classes: bool = True
) -> None:
    sub.add_argument(
        "--threshold", type=float, default=0.3, metavar="SCORE",
        help="least score that is shown, 0 to 1 (default: %(default)s)",
    )  # fmt: skip
    sub.add_argument("--draw", type=local_path, metavar=metavar, help=help)
    if classes:
        sub.add_argument("--classes", metavar="A,B", help=_CLASSES)


def _deploy(args: argparse.Namespace, service: Service) -> object:
    if args.local:
        serve_here(args, service)
        return None
    demand_not_here(args)
    from .hosting import deploy

    endpoint = deploy(
        **_making(args, service), name=args.endpoint_name, wait=not args.no_wait,
        update=args.update, serverless=_serverless(args.serverless), results=args.results,
        on_made=_print_endpoint,
    )  # fmt: skip
    return {"endpoint": endpoint.name, "classes": list(endpoint.classes)}


def _serverless(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    memory, _, concurrency = text.partition(",")
    if not memory.isdecimal() or not (concurrency or "5").isdecimal():
        raise UsageError(f"--serverless: {text!r}; write megabytes, or megabytes,calls: 2048,5")
    return int(memory), int(concurrency or 5)


def _predict(args: argparse.Namespace, service: Service) -> object:
    from .endpoint import attach_endpoint
    from .pictures import demand_writable

    if args.draw is not None:
        demand_writable(args.draw)
    endpoint = attach_endpoint(args.endpoint, service, classes=split(args.classes) or None)
    found = endpoint.answer(args.image)
    answer = _rows(found.above(args.threshold))
    if args.draw is not None:
        try:
            found.draw(args.image, args.threshold).save(args.draw)
        except (TrainError, OSError):
            print(json.dumps(answer, indent=2), flush=True)  # it was paid for
            raise
    return answer


def _rows(shown: Detections | Classification) -> list[dict[str, Any]]:
    def numbers(box: tuple[float, ...]) -> list[float | None]:
        return [edge if math.isfinite(edge) else None for edge in box]

    from .classes import Classification

    if isinstance(shown, Classification):
        return [
            {"class": one.name, "class_id": one.class_id, "score": one.score} for one in shown.found
        ]
    return [
        {"class": one.name, "class_id": one.class_id, "score": one.score, "box": numbers(one.box),
         "pixels": numbers(box)}
        for one, box in zip(shown.found, shown.pixels(), strict=True)
    ]  # fmt: skip


def _evaluate(args: argparse.Namespace, service: Service) -> object:
    from .classes import Accuracy
    from .endpoint import attach_endpoint
    from .evaluation import evaluate_any

    if args.top_k < 1:
        raise UsageError(f"--top-k: {args.top_k}; give 1 or more")
    endpoint = attach_endpoint(args.endpoint, service, classes=split(args.classes) or None)
    found = evaluate_any(
        endpoint, args.rec, overlap=args.overlap, eleven_points=args.eleven_points,
        top_k=args.top_k, resume=args.resume,
    )  # fmt: skip
    if not isinstance(found, Accuracy):
        return {"mAP": found.mean, "average_precision": found.average_precision}
    if found.top_k is None:
        shown = {"mAP": found.mean, "average_precision": found.by_class}
    else:
        shown = {f"top_{found.top_k}_accuracy": found.top_k_accuracy, "recall": found.by_class}
    return {"accuracy": found.accuracy} | shown


def _transform(args: argparse.Namespace, service: Service) -> object:
    from .batch import transform

    if args.draw is not None:
        args.draw.mkdir(parents=True, exist_ok=True)
    batch = transform(
        **_making(args, service), images=args.images, output=args.output, name=args.name
    )
    say(f"batch job {batch.name}, with model {batch.model}: it costs money until it is done")
    if args.no_wait:
        say(f"its results: {batch.back()}")
        return {"batch": batch.name, "model": batch.model, "output": batch.output}
    return _finish(batch, args)


def _results(args: argparse.Namespace, service: Service) -> object:
    from .batch import attach_batch

    if args.draw is not None:
        args.draw.mkdir(parents=True, exist_ok=True)
    return _finish(attach_batch(args.batch, service, classes=split(args.classes) or None), args)


def _finish(batch: Batch, args: argparse.Namespace) -> object:
    """Wait for a batch job; its answers."""
    from .detections import Detections

    batch.finish()
    found = []
    try:
        for name, image, one in batch.answers():
            what = "objects" if isinstance(one, Detections) else "classes"
            found.append({"image": name, what: _rows(one.above(args.threshold))})
            if args.draw is not None:
                _draw(args, name, image, one)
    except BaseException as error:
        error.add_note(f"come back with: {batch.back()}")
        raise
    return found


def _draw(
    args: argparse.Namespace, name: str, image: bytes, found: Detections | Classification
) -> None:
    path = (args.draw / name).resolve()
    if not path.is_relative_to(args.draw.resolve()):
        say(f"warning: {name}: not drawn, because it is not a path below {args.draw}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    found.draw(image, args.threshold).save(path)


def _endpoints(args: argparse.Namespace, service: Service) -> object:
    from .listing import endpoints

    return [
        {"endpoint": one.name, "status": one.status, "runs_on": list(one.machines),
         "since": one.since.isoformat(timespec="seconds"), "calls_of_last_day": one.calls}
        for one in endpoints(service, contains=args.contains)
    ]  # fmt: skip


def _cost(args: argparse.Namespace, service: Service) -> object:
    from .pricing import price

    if not (math.isfinite(args.hours) and args.hours > 0 and args.count > 0):
        raise UsageError("--hours and --count: give numbers above 0")
    hourly, currency = price(args.instance_type, args.use, service)
    say("on demand; without storage, traffic, taxes, discounts, and prices of spot instances")
    return {
        "instance_type": args.instance_type, "for": args.use, "region": service.region,
        "hours": args.hours, "count": args.count, "currency": currency, "price_per_hour": hourly,
        "price": round(hourly * args.hours * args.count, 6),
    }  # fmt: skip


def _delete(args: argparse.Namespace, service: Service) -> None:
    from .hosting import delete_endpoint

    deleted = delete_endpoint(args.endpoint, service)
    if not deleted:
        raise MissingError(
            f"{args.endpoint}: there is no such endpoint in {service.region}; nothing was deleted",
            args.endpoint, "Endpoint",
        )  # fmt: skip
    say(f"deleted {', '.join(deleted)}")


def _print_endpoint(endpoint: Endpoint) -> None:
    command = endpoint.service.command("delete", endpoint.name)
    say(f"endpoint {endpoint.name}: it costs money until {command}")
