"""The commands that write, on a small data set, and what lies there when they have succeeded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recpack.cli.app import main
from recpack.records.reader import RecordReader
from recpack.records.writer import RecordWriter
from tests.support.devkits import box_xml, jpeg, xml
from tests.support.faces import make_faces


@dataclass(frozen=True)
class Command:
    """A run of the command line; ``{out}`` and ``{in}`` in ``words`` are the folders of its output
    and of its inputs. ``outputs``: names in ``{out}`` that are whole or not there, each for itself:
    a ``.rec``, a file, a folder. ``mark``: where such a folder does not look finished without a
    file. ``given``: files that lie in ``{out}`` before, and their names in ``{in}``. ``jobs`` are
    tried in turn. ``replaces``: an old output with --overwrite, always, or never.
    ``counts_errors``: an input that can't be read changes the output."""

    name: str
    words: Sequence[str]
    outputs: Sequence[str]
    mark: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    replaces: Literal["option", "always", "never"] = "option"
    jobs: Sequence[int] = (1,)
    counts_errors: bool = False
    work: Callable[[Path, Path], int] | None = None

    def run(self, inputs: Path, out: Path, jobs: int, *options: str) -> int:
        """Run in this process, and return the exit code."""
        if self.work is not None:
            return self.work(inputs, out)
        places = {"{out}": os.fspath(out), "{in}": os.fspath(inputs)}
        words = []
        for word in (*self.words, *options):
            for name, place in places.items():
                word = word.replace(name, place)
            words.append(word)
        if len(self.jobs) > 1:
            words += ["--jobs", str(jobs)]
        return main(words, own_process=True)


def _data_job(inputs: Path, out: Path) -> int:
    from recpack.errors import RecpackError

    try:
        with (
            RecordReader(inputs / "a.rec") as records,
            RecordWriter(out / "train.rec", overwrite=True, segment_size="64KiB") as writer,
        ):
            for record in records:
                writer.write(record.image_bytes, label=record.label)
    except RecpackError as error:
        os.write(2, str(error).encode())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


SKIP = ("--on-error", "skip")
_SEGMENTS = ("--segment-size", "64KiB")
_CONVERT = ("convert", "{in}/devkit", "{out}/train.rec", *_SEGMENTS)

COMMANDS = (
    Command("convert", _CONVERT, ["train.rec"], jobs=(1, 2)),
    Command("convert --on-error skip",
            ("convert", "{in}/bad", "{out}/train.rec", "--on-error", "skip"), ["train.rec"],
            counts_errors=True),
    Command("convert faces",
            ("convert", "{in}/faces", "{out}/train.rec", "--from", "identities"), ["train.rec"]),
    Command("convert, new folders",
            ("convert", "{in}/devkit", "{out}/a/b/train.rec"), ["a/b/train.rec"]),
    Command("convert --split", (*_CONVERT, "--split", "0.5/0.5"),
            ["train_train.rec", "train_val.rec"], jobs=(1, 2)),
    Command("convert to images", ("convert", "{in}/devkit", "{out}/photos/"),
            ["photos", "photos_annotation"], replaces="never"),
    Command("convert to a manifest",
            ("convert", "{in}/devkit", "{out}/x.manifest", "--images-url", "s3://bucket/photos"),
            ["x.manifest"]),
    Command("list", ("list", "{in}/devkit", "{out}/train.lst"), ["train.lst"]),
    Command("pack", ("pack", "{in}/a.lst", "{in}/devkit", "{out}/train.rec", *_SEGMENTS),
            ["train.rec"], jobs=(1, 2)),
    Command("pack, list beside", ("pack", "{out}/train.lst", "{in}/devkit", "{out}/train.rec"),
            ["train.rec"], given={"train.lst": "a.lst"}),
    Command("merge", ("merge", "{out}/train.rec", "{in}/a.rec", "{in}/b.rec"), ["train.rec"]),
    Command("shuffle", ("shuffle", "{in}/a.rec", "{out}/train.rec", *_SEGMENTS), ["train.rec"],
            jobs=(1, 2)),
    Command("split", ("split", "{in}/a.rec", "{out}/train.rec", "--fractions", "0.5/0.5"),
            ["train_train.rec", "train_val.rec"]),
    Command("index", ("index", "{out}/train.rec"), ["train.idx"],
            given={"train.rec": "a.rec", "train.json": "a.json"}),
    Command("unpack", ("unpack", "{in}/a.rec", "{out}/folder"), ["folder"],
            mark="ImageSets/Main/trainval.txt"),
    Command("preview", ("preview", "{in}/a.rec", "{out}/sheet.png"), ["sheet.png"],
            replaces="always"),
    Command("check --report .json", ("check", "{in}/devkit", "--report", "{out}/r.json"),
            ["r.json"], replaces="always", counts_errors=True),
    Command("check --report .html", ("check", "{in}/devkit", "--report", "{out}/r.html"),
            ["r.html"], replaces="always", counts_errors=True),
    Command("RecordWriter", (), ["train.rec"], replaces="always", work=_data_job),
)  # fmt: skip
"""The commands that run with two jobs have more than one segment."""


def make_inputs(folder: Path, seed: int, *, broken: bool) -> Path:
    """All inputs of the commands: a devkit, lists and records. ``broken``: the devkit has an image
    that can't be read; else ``bad`` has one. Images are small, but together more than a segment."""
    _make_devkit(folder / "devkit", seed, broken=broken)
    _make_devkit(folder / "bad", seed, broken=not broken)
    make_faces(folder / "faces", {f"{number}": 1 for number in range(1, 3 + seed % 2)}, 24)
    for name, options in (("a", SKIP), ("b", (*SKIP, "--classes", "cat,dog"))):
        words = ("convert", folder / "devkit", folder / f"{name}.rec", "--quiet", *options)
        assert main(list(map(os.fspath, words))) == 0
    return folder


def _make_devkit(devkit: Path, seed: int, *, broken: bool) -> None:
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (devkit / part).mkdir(parents=True)
    sides = (150, 150, 150 - seed, 120)
    for number, side in enumerate(sides):
        image = jpeg(side, side, seed + number)
        bad = broken and number == 3
        (devkit / "JPEGImages" / f"{number}.jpg").write_bytes(b"no image" if bad else image)
        box = box_xml("cat" if number % 2 else "dog", (1, 2, 30 + number, 40))
        (devkit / "Annotations" / f"{number}.xml").write_text(xml(side, side, box))
    ids = "".join(f"{number}\n" for number in range(len(sides)))
    (devkit / "ImageSets/Main/trainval.txt").write_text(ids)
