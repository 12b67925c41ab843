"""Train five epochs, look at the mAP, go on for one more, host, detect, draw, take down.

    python examples/incremental_training.py VOCdevkit my-bucket photo.jpg --role ARN

Costs: two GPU jobs and, for a few minutes, an endpoint. Every step can be run alone: jobs and
endpoints are found again by their names (``train.attach``, ``train.attach_endpoint``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import recpack
from recpack import train


def pack(devkit: str, bucket: str, endpoint_url: str | None = None) -> tuple[str, str]:
    """The devkit, packed straight into two objects on S3, each under a prefix of its own."""
    recpack.convert(
        devkit, f"s3://{bucket}/voc/voc.rec", split="0.8/0.2", classes="voc",
        endpoint_url=endpoint_url, overwrite=True,
    )  # fmt: skip
    return f"s3://{bucket}/voc/train/voc_train.rec", f"s3://{bucket}/voc/val/voc_val.rec"


def story(
    channels: tuple[str, str],
    output: str,
    photo: Path,
    drawn: Path,
    role: str | None = None,
    service: train.Service | None = None,
) -> train.Detections:
    """From the packed data to boxes on a photograph."""
    # Classes, samples and label width come from the manifests that recpack wrote beside the data;
    # what would fail on a GPU that is paid for by then is refused here.
    first = train.fit(*channels, output, role=role, service=service, epochs=5)
    first.wait(on_status=print)
    print("mAP after each of the first epochs:", first.history())

    # One more epoch from that model, not all of them again. The network is that of the first job,
    # and the classes must be the same, in the same order.
    second = train.fit(*channels, output, role=role, service=service, model=first, epochs=1)
    second.wait(on_status=print)
    print("mAP after one more:", second.history())

    # The endpoint is deleted at the end of the block, whatever happens in it.
    with train.deploy(second, role=role, service=service) as endpoint:
        found = endpoint.predict(photo)
    found.draw(photo, threshold=0.3).save(drawn)
    for one in found.above(0.3):
        print(f"{one.name}: {one.score:.2f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("devkit")
    parser.add_argument("bucket")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--role", help="execution role (default: your own)")
    args = parser.parse_args()
    channels = pack(args.devkit, args.bucket)
    drawn = args.photo.with_name(args.photo.stem + "-detections.png")
    story(channels, f"s3://{args.bucket}/voc/models", args.photo, drawn, args.role)
    print(f"drawn: {drawn}")


if __name__ == "__main__":
    main()
