"""The commands of ``recpack-train`` on endpoints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_parts import Add, say, split
from .errors import JobError
from .request import INFERENCE_TYPE
from .service import Service

if TYPE_CHECKING:
    from .endpoint import Endpoint


def add_commands(command: Add) -> None:
    """Add them to the command line."""
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


def _deploy(args: argparse.Namespace, service: Service) -> object:
    from .hosting import deploy

    endpoint = deploy(
        args.model, name=args.endpoint_name, classes=split(args.classes) or None, role=args.role,
        service=service, instance_type=args.instance_type, instance_count=args.instance_count,
        image=args.image, wait=not args.no_wait, update=args.update, on_made=_print_endpoint,
    )  # fmt: skip
    return {"endpoint": endpoint.name, "classes": list(endpoint.classes)}


def _predict(args: argparse.Namespace, service: Service) -> object:
    from .endpoint import attach_endpoint

    endpoint = attach_endpoint(args.name, service, classes=split(args.classes) or None)
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

    endpoint = attach_endpoint(args.name, service, classes=split(args.classes) or None)
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
    say(f"deleted {', '.join(deleted)}")


def _print_endpoint(endpoint: Endpoint) -> None:
    say(f"endpoint {endpoint.name}: it costs money until recpack-train delete {endpoint.name}")
