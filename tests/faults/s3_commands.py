"""The commands that write to S3 or read from it, and what lies in the bucket before them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import recpack
from recpack.cli.app import main
from recpack.formats.manifest import manifest_beside
from recpack.sinks.s3 import S3Sink
from recpack.storage.s3.client import S3Client
from tests.faults.s3_run import PART, prepare, run
from tests.faults.store import Action, InTurn, State, Store
from tests.support.devkits import make_voc
from tests.support.s3server import Blob

BUCKET = "s3://bucket/"
REC = "p/train/train.rec"
_FOREIGN = ("p/readme.txt", "p/_recpack/trainer.idx", "p/_recpack/other.json", "p/train.rec",
            "p/train/train.record", "p/other/train.lst")  # fmt: skip
"""Objects of others whose names are near to those of an output."""
_FOREIGN_UPLOAD = "p/train/another.bin"


@dataclass(frozen=True)
class Command:
    """``action`` works on a bucket in the state ``before``. ``rest``: that state, without what a
    killed run left there. ``recs``: the outputs that readers are to see whole. ``folder``: a local
    output. ``cleanup``: what ``s3-cleanup`` is given. ``chunk``: companions of more
    bytes become multipart uploads. ``keeps_objects``: below this prefix a failed run leaves
    objects, and says so. ``looks_finished``: a local file that is there when all others are."""

    name: str
    action: Action
    before: State
    recs: tuple[str, ...] = ()
    rest: State | None = None
    folder: Path | None = None
    cleanup: tuple[str, ...] = (REC,)
    chunk: int = 0
    keeps_objects: str = ""
    looks_finished: str = ""


def command(*arguments: str | Path) -> Action:
    """A command line, as an action."""
    return partial(_main, [os.fspath(argument) for argument in arguments])


def _main(arguments: list[str], url: str) -> int:
    try:
        return main([*arguments, "--endpoint-url", url])
    except SystemExit as stop:  # wrong usage, which no fault of a store explains
        return int(stop.code or 0) + 64


def look(rec: str, url: str) -> int:
    """Print what recpack's readers see of an output: equal text for equal outputs, "nothing" where
    nothing lies."""
    place, s3 = BUCKET + rec, S3Client(url)
    found = {
        "manifest": _told(lambda: (found := manifest_beside(place, s3)) and asdict(found)),
        "records": _told(lambda: _digest(place, url)),
        "shallow": _told(lambda: asdict(recpack.verify(place, endpoint_url=url))),
        "deep": _told(lambda: asdict(recpack.verify(place, deep=True, jobs=1, endpoint_url=url))),
    }
    if found["manifest"] is None:
        gone = "there is no such object" in str(found["records"])
        found = {"state": "nothing" if gone else "unfinished"}
    elif any(isinstance(value, str) and "Error: " in value for value in found.values()):
        found["state"] = "broken"
    print(json.dumps(found, sort_keys=True, default=str))
    return 0


def _told(look: Callable[[], object]) -> object:
    try:
        return look()
    except recpack.RecpackError as error:
        return f"{type(error).__name__}: {error}"


def _digest(place: str, url: str) -> str:
    with recpack.RecordReader(place, endpoint_url=url) as records:
        digest = hashlib.sha256(repr(records.index()).encode())
        for record in records:
            digest.update(b"%d" % record.id + record.label.tobytes() + record.image_bytes)
    return digest.hexdigest()


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Commands:
    """All of them, made from small data sets in ``folder``."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self.old = make_voc(folder / "old", {"2007": 5}, seed=1)
        self.new = make_voc(folder / "new", {"2007": 8}, seed=2)
        self._rec = BUCKET + REC
        prepare(self._convert(), store)
        self._make(command("list", self.new, folder / "new.lst"))
        blobs = {key: Blob(key.encode(), key) for key in _FOREIGN}
        store.objects, store.uploads = blobs, {}
        store.answer("create_multipart_upload", _FOREIGN_UPLOAD, {}, {}, b"")
        self._empty = store.state

    def _make(self, action: Action, *faults: InTurn, chunk: int = 0) -> State:
        """The state after a run."""
        outcome = run(action, self._store, *faults, chunk=chunk)
        assert outcome.code == (-9 if faults else 0), outcome
        return self._store.state

    def _after(self, action: Action, before: State | None = None, *faults: InTurn) -> State:
        self._store.restore(before or self._empty)
        return self._make(action, *faults)

    def _killed_after(self, operation: str, action: Action, before: State) -> State:
        self._after(action, before)
        number = [request.name for request in self._store.requests].index(operation) + 1
        return self._after(action, before, InTurn("killed after", number))

    def _convert(self, *options: str, devkit: Path | None = None) -> Action:
        return command("convert", devkit or self.new, self._rec, "--segment-size", str(PART),
                       "--jobs", "1", "--uploads", "1", "--quiet", *options)  # fmt: skip

    def all(self) -> Iterator[Command]:
        yield from self.conversions()
        yield from self.resumed()
        yield from self.writers()
        yield from self.exports()
        yield from self.readers()

    def conversions(self) -> Iterator[Command]:
        fresh, again = self._convert(), self._convert("--overwrite")
        old = self._after(self._convert(devkit=self.old))
        yield Command("convert", fresh, self._empty, (REC,))
        yield Command("convert --overwrite", again, old, (REC,))
        none = ("--overwrite", "--checksum", "none")
        old_none = self._after(self._convert("--checksum", "none", devkit=self.old))
        yield Command("convert --checksum none", self._convert(*none[1:]), self._empty, (REC,))
        yield Command("convert --overwrite --checksum none", self._convert(*none), old_none, (REC,))
        yield Command("convert, long companions", fresh, self._empty, (REC,), chunk=40)
        yield Command("convert --overwrite, long companions", again, old, (REC,), chunk=40)
        parts = ("p/train/train_train.rec", "p/val/train_val.rec")
        split = command("convert", self.new, BUCKET + "p/train.rec", "--split", "0.6/0.4",
                        "--jobs", "1", "--uploads", "1", "--quiet")  # fmt: skip
        yield Command("convert --split", split, self._empty, parts, cleanup=("p/",))

    def resumed(self) -> Iterator[Command]:
        resume, again = self._convert("--resume"), self._convert("--resume", "--overwrite")
        old = self._after(self._convert(devkit=self.old))
        yield Command("convert --resume", resume, self._empty, (REC,))
        for name, action, before in (("", resume, self._empty), (" --overwrite", again, old)):
            for operation in ("upload_part", "complete_multipart_upload"):
                killed = self._killed_after(operation, action, before)
                title = f"convert --resume{name} after {operation}"
                yield Command(title, action, killed, (REC,), before)

    def writers(self) -> Iterator[Command]:
        old = self._after(self._convert(devkit=self.old))
        yield Command("RecordWriter", partial(_write, overwrite=False), self._empty, (REC,))
        yield Command("RecordWriter, overwrite", partial(_write, overwrite=True), old, (REC,))
        pack = ("pack", self._folder / "new.lst", self.new, self._rec, "--segment-size", str(PART),
                "--jobs", "1", "--uploads", "1", "--quiet", "--classes", "voc")  # fmt: skip
        yield Command("pack", command(*pack), self._empty, (REC,))
        yield Command("pack --overwrite", command(*pack, "--overwrite"), old, (REC,))
        inputs = [BUCKET + f"in/{name}.rec" for name in "ab"]
        both = self._empty
        for place, devkit in zip(inputs, (self.old, self.new), strict=True):
            both = self._after(command("convert", devkit, place, "--jobs", "1", "--quiet"), both)
        merge = ("merge", self._rec, *inputs, "--segment-size", str(PART), "--uploads", "1",
                 "--quiet")  # fmt: skip
        yield Command("merge", command(*merge), both, (REC,))
        there = self._after(self._convert(devkit=self.old), both)
        yield Command("merge --overwrite", command(*merge, "--overwrite"), there, (REC,))
        index = {key: blob for key, blob in old.objects.items() if not key.endswith("train.idx")}
        bare = old._replace(objects=index | {key: self._empty.objects[key]
                                             for key in _FOREIGN})  # fmt: skip
        yield Command("index", command("index", self._rec, "--quiet"), bare, (REC,))
        other = old.objects | {"p/_recpack/train.idx": Blob(b"0\t0\n", "wrong")}
        wrong = old._replace(objects=other)
        again = command("index", self._rec, "--overwrite", "--quiet")
        yield Command("index --overwrite", again, wrong, (REC,))
        killed = self._killed_after("upload_part", self._convert(), self._empty)
        cleanup = command("s3-cleanup", self._rec, "--quiet")
        yield Command("s3-cleanup", cleanup, killed, (REC,), self._empty)

    def exports(self) -> Iterator[Command]:
        images = command("convert", self.new, BUCKET + "x/train/", "--jobs", "1", "--quiet")
        yield Command("convert, images and JSON", images, self._empty, keeps_objects="x/train")
        names = ("--images-url", BUCKET + "images", "--jobs", "1", "--quiet")
        manifest = ("convert", self.new, BUCKET + "x/train.manifest", *names)
        yield Command(
            "convert, augmented manifest", command(*manifest), self._empty, cleanup=("x/",)
        )
        there = self._after(command("convert", self.old, BUCKET + "x/train.manifest", *names))
        yield Command(
            "convert --overwrite, augmented manifest, long",
            command(*manifest, "--overwrite"), there, cleanup=("x/", "--all"), chunk=200,
        )  # fmt: skip
        rows = ("list", self.new, BUCKET + "x/train.lst", "--jobs", "1", "--quiet")
        yield Command("list", command(*rows), self._empty, cleanup=("x/",))

    def readers(self) -> Iterator[Command]:
        new = self._after(self._convert())
        for words in (["verify"], ["verify", "--deep", "--jobs", "1"], ["inspect"]):
            action = command(words[0], self._rec, *words[1:], "--json")
            yield Command(" ".join(words[:2]), action, new, (REC,))
        for name, words, finished in (
            ("preview", ["preview", self._rec, "{}/page.png", "--quiet"], ""),
            ("unpack", ["unpack", self._rec, "{}/voc", "--quiet"],
             "voc/ImageSets/Main/trainval.txt"),
        ):  # fmt: skip
            yield self._local(name, words, new, finished)
        objects = dict(self._empty.objects)
        for path, data in files(self.old).items():
            objects["in/" + path] = Blob(data, hashlib.md5(data).hexdigest())
        devkit = self._empty._replace(objects=objects)
        place = BUCKET + "in"
        options = ["--jobs", "1", "--quiet"]
        yield self._local(
            "convert from S3", ["convert", place, "{}/a.rec", *options], devkit, "a.json"
        )
        yield self._local("list from S3", ["list", place, "{}/a.lst", *options], devkit, "a.lst")
        yield Command("check from S3", command("check", place, "--jobs", "1", "--json"), devkit)

    def _local(self, name: str, words: Sequence[str], before: State, finished: str) -> Command:
        folder = self._folder / "local"
        inner = command(*(word.format(folder) for word in words))
        action = partial(_emptied, folder, inner)
        return Command(name, action, before, folder=folder, looks_finished=finished)


def _emptied(folder: Path, action: Action, url: str) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return action(url)


def _write(url: str, *, overwrite: bool) -> int:
    sink = S3Sink(BUCKET + REC, overwrite=overwrite, uploads=1, endpoint_url=url)
    try:
        with recpack.RecordWriter(sink, segment_size=PART) as writer:
            for number in range(9):
                writer.write(bytes([number]) * 40_000, [[number % 3, 0.1, 0.1, 0.5, 0.5]])
    except (recpack.RecpackError, KeyboardInterrupt) as error:
        print(error, *getattr(error, "__notes__", ()), sep="\n")
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0
