"""The whole story on this machine, without AWS and without a GPU: a devkit, its records in a real
S3 server, a training, one epoch more from its model, an endpoint, detections, the mAP, and the end
of the endpoint.

    python -m recpack.demo.tour recpack-story

It types the commands that it shows, and leaves a page of pictures, ``index.html``. The server is
moto's, the pictures are drawn: balls, boxes and cones, each in its colour. On two cores it takes
about ten minutes.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recpack.demo.s3_server import credentials, loopback_server
from recpack.demo.story import CLASSES, make_devkit
from recpack.storage.s3.client import S3Client
from recpack.train import attach, plot_jobs

BUCKET = "story"
TRAIN, VALIDATION = (f"s3://{BUCKET}/voc/{part}/{part}.rec" for part in ("train", "val"))
MADE = ("VOCdevkit", "models", "pictures", "index.html")
PICTURES = 6
SETTINGS = (
    "base_network=resnet-18", "image_shape=96", "mini_batch_size=8", "optimizer=adam",
)  # fmt: skip
"""A small network that learns to detect in minutes on two cores."""


class Story:
    """Types commands in a folder, and keeps what the page shows."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        self.sections: list[str] = []
        self._started = time.monotonic()

    def tell(self, text: str) -> None:
        """A heading, on the screen and on the page."""
        print(f"\n# {text} ({time.monotonic() - self._started:.0f} s)", flush=True)
        self.sections.append(f"<h2>{html.escape(text)}</h2>")

    def type_in(self, *words: str) -> str:
        """Run a command. Returns its standard output; the rest is on the screen, but for the lines
        of a training's log."""
        self._show(words)
        with (
            tempfile.TemporaryFile("w+") as output,
            self._begin(words, stdout=output, stderr=subprocess.PIPE) as process,
        ):
            for line in process.stderr or ():
                if not line.startswith(("[", "#", "Epoch:")):
                    print(line, end="", flush=True)
            process.wait()
            output.seek(0)
            out = output.read()
        if process.returncode:
            raise SystemExit(process.returncode)
        return out

    @contextmanager
    def served(self, *words: str) -> Iterator[str]:
        """The address of a server that runs until it is interrupted, as by Ctrl-C."""
        self._show(words)
        process = self._begin(words, stderr=subprocess.PIPE)
        try:
            for line in process.stderr or ():
                print(line, end="", flush=True)
                if found := re.search(r"http://[\d.:]+", line):
                    yield found[0]
                    break
            else:
                raise SystemExit(process.wait())
        finally:
            print("^C", flush=True)
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def show(self, *files: str) -> None:
        """Put pictures on the page."""
        for file in files:
            data = base64.b64encode((self.folder / file).read_bytes()).decode()
            kind = Path(file).suffix.removeprefix(".").replace("jpg", "jpeg")
            self.sections.append(f'<img alt="{file}" src="data:image/{kind};base64,{data}">')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Put a table on the page."""
        cells = ["".join(f"<td>{html.escape(str(cell))}" for cell in row) for row in rows]
        names = "".join(f"<th>{html.escape(name)}" for name in head)
        print("\n".join("  ".join(map(str, row)) for row in (head, *rows)), flush=True)
        self.sections.append(f"<table><tr>{names}<tr>{'<tr>'.join(cells)}</table>")

    def write(self) -> Path:
        """The page, with all pictures in it."""
        style = (
            "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
            "pre{background:#eee;padding:.5rem;white-space:pre-wrap}img{max-width:100%;margin:2px}"
            "td,th{padding:0 .8rem;text-align:right}"
        )
        minutes = (time.monotonic() - self._started) / 60
        head = f"<h1>From a devkit to detections</h1><p>{minutes:.1f} minutes on this machine.</p>"
        page = self.folder / "index.html"
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><title>recpack</title><style>{style}</style>'
            + head + "\n".join(self.sections) + "\n"
        )  # fmt: skip
        return page

    def _show(self, words: Sequence[str]) -> None:
        line = shlex.join(words)
        print(f"$ {line}", flush=True)
        self.sections.append(f"<pre>{html.escape(line)}</pre>")

    def _begin(self, words: Sequence[str], **streams: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(words, cwd=self.folder, env=self._environment, text=True, **streams)


def tell(story: Story, args: argparse.Namespace) -> Path:
    """From the devkit to the page."""
    story.tell(f"A devkit of {args.images} drawn pictures")
    make_devkit(story.folder / "VOCdevkit", args.images, easy=True)

    story.tell("Its records, straight into an S3 server")
    classes = ["--classes", ",".join(CLASSES), "--quiet"]
    story.type_in("recpack", "convert", "VOCdevkit", TRAIN, "--set", "trainval", *classes)
    story.type_in("recpack", "convert", "VOCdevkit", VALIDATION, "--set", "test", *classes)
    (story.folder / "pictures").mkdir()
    story.type_in("recpack", "preview", TRAIN, "pictures/preview.png", "--count", "6")
    story.show("pictures/preview.png")

    story.tell("The first training, from random weights")
    fit = ["recpack-train", "fit", "--local", "--train", TRAIN, "--validation", VALIDATION]
    fit += ["--output", "models", "--wait"]
    chosen = [f"--set={pair}" for pair in (*SETTINGS, *args.set)]
    first = ["--job-name=voc-1", f"--set=epochs={args.epochs}"]
    first.append("--set=learning_rate=0.0002")
    if args.epochs > 4:  # the last fifth of the epochs with smaller steps
        first.append(f"--set=lr_scheduler_step={args.epochs * 4 // 5}")
    story.type_in(*fit, *first, *chosen)
    story.tell("One epoch more, from that model")
    second = ["--job-name=voc-2", "--model=voc-1", "--set=epochs=1", "--set=learning_rate=0.00001"]
    story.type_in(*fit, *second, *chosen)
    jobs = [attach(str(story.folder / "models" / name)) for name in ("voc-1", "voc-2")]
    for job in jobs:
        job.read_log()
    curve = [(job.name, epoch, mAP) for job in jobs for epoch, mAP in job.history().items()]
    story.table(("job", "epoch", "mAP"), [(*where, f"{mAP:.3f}") for *where, mAP in curve])
    plot_jobs(jobs, story.folder / "pictures/curve.png")
    story.show("pictures/curve.png")

    story.tell("An endpoint, and what it finds in pictures that it has not seen")
    with story.served("recpack-train", "deploy", "--local", "models/voc-2", "--port", "0") as url:
        for id_ in test_ids(story.folder)[:PICTURES]:
            image, drawn = f"VOCdevkit/VOC2007/JPEGImages/{id_}.jpg", f"pictures/{id_}.jpg"
            predict = ["recpack-train", "predict", url, image, "--draw", drawn]
            found = json.loads(story.type_in(*predict, "--threshold", "0.2"))
            print(", ".join(f"{one['class']} {one['score']:.2f}" for one in found) or "nothing")
            story.show(drawn)
        story.tell("Its mAP, by the records of the pictures that it has not seen")
        found = json.loads(story.type_in("recpack-train", "evaluate", url, VALIDATION))
        rows = [*found["average_precision"].items(), ("mAP", found["mAP"])]
        story.table(("class", "average precision"), [(name, f"{one:.3f}") for name, one in rows])
        story.tell("The end: Ctrl-C takes the endpoint down")
    return story.write()


def test_ids(folder: Path) -> list[str]:
    return (folder / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").read_text().split()


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m recpack.demo.tour", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("recpack-story"))
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier story there")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument(
        "--set", action="append", default=[], metavar="name=value",
        help=f"hyperparameters of both trainings, beside {', '.join(SETTINGS)}",
    )  # fmt: skip
    args = parser.parse_args()
    folder = args.folder
    if folder.exists() and any(folder.iterdir()):
        if not args.overwrite:
            parser.error(f"{folder} is not empty; choose another folder, or use --overwrite")
        for name in MADE:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with loopback_server() as url, credentials():
        here = os.path.dirname(sys.executable)
        environment = os.environ | {
            "AWS_ENDPOINT_URL": url, "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}",
        }  # fmt: skip
        S3Client(url).call("create_bucket", Bucket=BUCKET)
        print(f"$ export AWS_ENDPOINT_URL={url}\n$ cd {shlex.quote(str(folder))}", flush=True)
        page = tell(Story(folder, environment), args)
    print(f"\nthe page of pictures: {page}")


if __name__ == "__main__":
    main()
