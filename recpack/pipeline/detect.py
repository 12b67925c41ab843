"""``recpack detect``: what a path is, and the commands to use it. Nothing is written, and of the
annotations only the first are read."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

import numpy as np

from recpack.data.classes import VOC_CLASSES
from recpack.data.labels import class_ids
from recpack.display import did_you_mean_path
from recpack.errors import ConfigError, DataError
from recpack.options import FACES, CheckOptions, DetectSettings
from recpack.pipeline.detect_files import detect_list, detect_records, record_path
from recpack.pipeline.detected import Detected, Typist
from recpack.pipeline.prepare import fatal_problems
from recpack.scanning.run import scan_dataset
from recpack.settings import takes
from recpack.sources.base import Dataset, Scope
from recpack.sources.open import find_format, formats_of, open_format
from recpack.sources.recognise import MOST_DOCUMENTS
from recpack.sources.request import Request
from recpack.sources.selection import EVERY, Selection, SourceFormat
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import LIST, MANIFEST, is_s3
from recpack.storage.shards import set_name
from recpack.storage.trees.base import Tree, is_hidden, join
from recpack.storage.trees.links import Links
from recpack.storage.trees.open import Root, is_archive_name, open_tree

_WORDS: dict[SourceFormat, str] = {
    "voc": "Pascal VOC",
    "coco": "COCO",
    "yolo": "YOLO",
    "augmented-manifest": "augmented manifest, as SageMaker reads it",
    "image-json": "images with a JSON file each, as SageMaker reads them",
    "csv": "table of images and labels",
    "folders": "folder of images for each class",
}
_YEAR = re.compile(r"VOC(\S+) (.+)")
_DEVKIT = "VOCdevkit"
_GROUPED = 3
"""More files of one ending are told by their number."""
_MOST, _MOST_SETS = 12, 4
"""Paths to try instead, and image sets with a command of their own."""
_NO_OBJECT = (
    "none of the first annotations has an object, and convert drops such images; to pack them: "
    "--negatives keep"
)
_MORE = (".rec", ".manifest", ".jsonl", ".csv", ".tsv")
"""Endings of files that are worth a look where their folder is nothing."""


@takes(DetectSettings)
def detect(path: Root, settings: DetectSettings) -> Detected:
    """Say what a path is, and the commands to convert and check it: a folder, archives of one data
    set, the file of a data set, a ``.rec`` or a set of shards, each also on S3; or a list.

    It lists folders, and reads the first 512 annotations and the headers of their images; COCO's
    JSON, tables and manifests it reads whole. What is no data set is an answer too: ``format`` is
    None, and ``fault`` says why. Raises DataError for a path that does not exist, and for a list or
    a ``.rec`` that breaks its format, ConfigError for several paths that are not archives.
    """
    paths = [os.fspath(one) for one in ([path] if isinstance(path, (str, os.PathLike)) else path)]
    for one in paths:
        if not is_s3(one) and not os.path.lexists(one) and record_path(one) is None:
            raise DataError(f"{one}: no such file or folder{did_you_mean_path(one)}")
    typist, s3 = Typist(paths, settings), S3Client.of(settings)
    if len(paths) == 1 and (rec := record_path(paths[0])) is not None:
        return detect_records(rec, settings)
    if len(paths) == 1 and paths[0].endswith(LIST):
        return detect_list(paths[0], typist, s3)
    selection = Selection(**vars(settings.part(Links)))
    found, root = None, None
    try:
        found, root = find_format(paths, Request(selection, s3))
        return _of_dataset(paths, root, found, selection, s3, typist)
    except (DataError, OSError) as error:
        fault = str(error)
    near = _near(paths[0], s3) if found in (None, "voc") and len(paths) == 1 else iter(())
    text = _WORDS[found] if found else ""
    return Detected(" ".join(paths), found, text, near=dict(islice(near, _MOST)), fault=fault)


def _of_dataset(
    paths: Sequence[str],
    root: Tree | None,
    found: SourceFormat | None,
    selection: Selection,
    s3: S3Client,
    typist: Typist,
) -> Detected:
    """What a data set is. Raises DataError where it can't be opened, or nothing was found."""
    dataset, sets = _open(paths, root, found, selection, s3)
    found = found or "voc"
    voc = dataset.classes is None
    options = CheckOptions(jobs=1, classes="auto" if voc else None)
    scan = scan_dataset(dataset, options, most=1)
    ids = np.bincount(class_ids(scan.samples)[0], minlength=len(scan.classes.names)).tolist()
    classes = dict(zip(scan.classes.names, ids, strict=True)) if dataset.labels != "numbers" else {}
    learn = voc and not classes.keys() <= set(VOC_CLASSES)
    problems = Counter(problem.code for problem in fatal_problems(scan.problems, options))
    scope = scan.scope
    # InsightFace's images have one size
    faces = found == "folders" and len(np.unique(scan.sizes, axis=0)) == 1
    return Detected(
        " ".join(paths),
        found,
        _WORDS[found] + (f", {', '.join(scope.years)}" if scope.years else ""),
        dataset.labels,
        dict(scope.sets),
        dict(scope.others),
        classes,
        scan.annotations,
        dict(problems),
        tuple(_unread(root, dataset)) if root is not None else (),
        tuple(_also(root, selection, found)) if root is not None else (),
        commands=_commands(typist, scope, sets, learn=learn, faces=faces),
        fault="" if len(scan.samples) or problems else _NO_OBJECT,
    )


def _commands(
    typist: Typist, scope: Scope, sets: Sequence[str], *, learn: bool, faces: bool
) -> dict[str, str]:
    """The commands for the image sets that are read, and for each other one, with the same class
    ids."""
    names = {match[2] if (match := _YEAR.match(name)) else name for name in scope.sets}
    output = typist.output(names.pop() if scope.others and len(names) == 1 else "")
    classes = ["--classes", "auto"] if learn else []
    commands = {
        "convert": typist.command("convert", output, *sets, *classes),
        "check": typist.command("check", *sets, *classes, "--report", "check.html"),
    }
    if learn:
        classes[1] = output.removesuffix(".rec") + MANIFEST
    others = list(scope.others)
    sets_of = Counter(_YEAR.sub(r"\2", name) for name in others)
    for name in others[:_MOST_SETS]:
        match = _YEAR.match(name)
        chosen = ["--year", match[1], "--set", match[2]] if match else ["--set", name]
        short = match[2] if match and sets_of[match[2]] == 1 else name
        output = typist.output(short)
        commands[f"convert {short}"] = typist.command("convert", output, *chosen, *classes)
    if faces:
        output = typist.output("faces")
        commands["as faces"] = typist.command("convert", output, *sets, "--from", FACES)
    return commands


def _open(
    paths: Sequence[str],
    root: Tree | None,
    found: SourceFormat | None,
    selection: Selection,
    s3: S3Client,
) -> tuple[Dataset, list[str]]:
    """The data set, and the options that it needs: all image sets where there is no default."""
    every = Selection(**vars(selection) | {"set": EVERY})
    failure: Exception | None = None
    for one, options in ((selection, []), (every, ["--set", EVERY])):
        try:
            return open_format(paths, root, found or "voc", Request(one, s3)), options
        except (DataError, ConfigError) as error:
            failure = failure or error
            if "--set" not in str(error):
                break
    raise DataError(str(failure)) from failure


def _also(root: Tree, selection: Selection, found: SourceFormat) -> Iterator[SourceFormat]:
    """Other formats that a folder looks like; any can have folders that hold only images."""
    try:
        yield from (one for one in formats_of(root, selection) if one not in (found, "folders"))
    except (DataError, OSError):
        return  # a format that is not read


def _unread(root: Tree, dataset: Dataset) -> Iterator[str]:
    """What lies beside the parts of a data set: folders end in ``/``."""
    parts = {posixpath.normpath(part) for part in dataset.parts}
    if "." in parts:
        return
    places = {".", *(posixpath.dirname(part) or "." for part in parts)}
    for place in sorted(filter(root.is_folder, places)):
        if any(f"{place}/".startswith(f"{part}/") for part in parts):
            continue  # it is a part, or lies in one
        names = [join(place, name) for name in root.folders(place) if not is_hidden(name)]
        yield from (f"{name}/" for name in names if not _belongs(name, parts))
        files = [join(place, name) for name in root.some_files(place) if not is_hidden(name)]
        by_ending: dict[str, list[str]] = {}
        for name in files:
            if name not in parts and name not in names:
                by_ending.setdefault(posixpath.splitext(name)[1], []).append(name)
        for ending, several in by_ending.items():
            many = len(several) > _GROUPED
            yield from [f"{len(several):,} {join(place, '*')}{ending}"] if many else several


def _belongs(folder: str, parts: set[str]) -> bool:
    """Whether a folder is, is in, or holds one of the parts."""
    pairs = ((part, folder) for part in parts)
    return any(f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/") for a, b in pairs)


def _near(path: str, s3: S3Client) -> Iterator[tuple[str, str]]:
    """What is in a folder that is nothing itself, or around it."""
    is_file = not is_s3(path) and os.path.isfile(path)
    inner, files, above = list[str](), list[str](), [".."]
    if is_file:
        above = ["../..", ".."]  # the folder of the annotations is less than the one above it
    else:
        with suppress(DataError, OSError):
            root = open_tree(path, s3)
            inner = [name for name in root.folders(".") if not is_hidden(name)]
            files = [set_name(name) or name for name in root.some_files(".")]
    ways = [*inner[:MOST_DOCUMENTS], *([] if is_s3(path) else above)]
    for way in ways:
        one = join(path.rstrip("/"), way) if way in inner else os.path.normpath(join(path, way))
        with suppress(DataError, OSError):
            root = open_tree(one, s3)
            found = next(formats_of(root, Selection()), None)
            if found == "voc" and _DEVKIT in root.folders("."):
                one = join(one, _DEVKIT)
            if found is not None and (way in inner or found != "folders"):
                yield one, _WORDS[found]
    for name in files:
        if name.endswith(_MORE) or is_archive_name(name):
            yield join(path.rstrip("/"), name), "a file"
