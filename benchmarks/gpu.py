"""``python -m benchmarks.gpu``: what the SSD algorithm reaches on the GPU of this machine, in a few
minutes: its speed beside torchvision's, the mAP by epoch from random weights on 6,400 drawn
pictures, and a job as large as Pascal VOC.

It needs Python 3.11 or later with torch and torchvision, and of what recpack needs NumPy, OpenCV,
isal, joblib and msgspec; no network: it makes its data itself. ``--set`` gives the learning other
hyperparameters.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import recpack
from benchmarks import ssd
from benchmarks.data import Drawn, draw, make_records
from benchmarks.measure import measure
from benchmarks.report import Section
from benchmarks.setting import Setting

PARTS = ("speed", "learning", "voc")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=6_400, help="that are learnt from")
    parser.add_argument("--voc", type=int, default=16_551, help="pictures of the large job")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="name=value")
    parser.add_argument("--output", type=Path, help="write all lines there too")
    args = parser.parse_args()
    if wrong := set(args.parts) - set(PARTS):
        parser.error(f"no part {min(wrong)}; the parts are {', '.join(PARTS)}")
    lines = []
    for line in run(args):
        lines.append(line)
        print(line, flush=True)
        if args.output is not None:
            args.output.write_text("\n".join(lines) + "\n")


def run(args: argparse.Namespace) -> Iterator[str]:
    """The lines of the report."""
    import torch
    import torchvision

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    yield f"- {card}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    parts = args.parts or PARTS
    choices = dict(pair.split("=", 1) for pair in args.set)
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as name:
        folder = Path(name)
        if "speed" in parts:
            setting = Setting(
                memory=folder, disk=folder, environments=folder, images=0, encoded=0, large=0,
                many=0, planned=0, growth=(), peers=(),
            )  # fmt: skip
            for table in ssd.training_tables(setting):
                yield from Section.of(table, measure(table.works, args.rounds)).lines()
        if {"learning", "voc"} & set(parts):
            start = time.monotonic()
            pictures = draw(args.pictures * 9 // 8)
            learnt, others = pictures[: args.pictures], pictures[args.pictures :]
            yield f"- {len(pictures):,} pictures drawn in {time.monotonic() - start:.0f} s"
        if "learning" in parts:
            data = make_data(folder / "small", learnt, len(learnt), others, len(others))
            yield f"\n### {len(learnt):,} pictures, {args.epochs} epochs from random weights\n"
            yield from train_once(data, {"epochs": args.epochs, **choices})[1]
        if "voc" in parts:
            # VOC07+12 has 16,551 images to learn from, and VOC2007's test 4,952
            data = make_data(folder / "voc", learnt, args.voc, others, args.voc * 3 // 10)
            yield f"\n### {args.voc:,} pictures, 5 epochs, then one more from that model\n"
            start = time.monotonic()
            model, lines = train_once(data, {"epochs": 5, **choices})
            yield from lines
            yield from train_once(data, {"epochs": 1, **choices}, model)[1]
            yield f"- both, validation included: {time.monotonic() - start:.1f} s"


class Data(NamedTuple):
    """The records to learn from and those for the mAP, with their manifests."""

    train: Path
    validation: Path
    manifests: tuple[recpack.Manifest, recpack.Manifest]


def make_data(
    stem: Path, learnt: Sequence[Drawn], train: int, others: Sequence[Drawn], validation: int
) -> Data:
    """So many records of each."""
    paths = [stem.with_name(f"{stem.name}-{part}.rec") for part in ("train", "validation")]
    first = make_records(paths[0], learnt, train)
    return Data(paths[0], paths[1], (first, make_records(paths[1], others, validation)))


def train_once(data: Data, choices: dict[str, Any], model: Any = None) -> tuple[Any, list[str]]:
    """The model of a training on the GPU, and what to tell of it."""
    from train.hyperparameters import Hyperparameters
    from train.logs import parse_metric
    from train.ssd.fitting import Setup, fit

    defaults = {"base_network": "resnet-50", "use_pretrained_model": 0, "learning_rate": 0.004}
    learning = Hyperparameters.from_manifests(*data.manifests, **{**defaults, **choices})
    setup = Setup(
        hyperparameters=learning, train=data.train, validation=data.validation, model=model
    )
    log: list[str] = []
    start = time.monotonic()
    model = fit(setup, log.append)
    seconds = time.monotonic() - start
    metrics = [metric for line in log if (metric := parse_metric(line))]
    found = {
        name: ", ".join(f"{one.value:{form}}" for one in metrics if one.name == name)
        for name, form in (("mAP", ".3f"), ("cross_entropy", ".2f"), ("throughput", ".0f"))
    }
    lines = [f"- {learning.epochs} epochs in {seconds:.1f} s, validation included"]
    return model, lines + [f"- {name}: {values}" for name, values in found.items()]


if __name__ == "__main__":
    main()
