"""The first pass over a devkit: every annotation parsed, every image's header read, every box
judged, in parallel; nothing is written."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from recpack.annotation import Annotation
from recpack.config import Options
from recpack.devkit import Devkit, ImageSet
from recpack.errors import AnnotationError, ImageError
from recpack.files import Closing, UnsafePathError
from recpack.headers import EXTENSIONS, ImageHeader, check_whole, read_header
from recpack.judge import Judge, ScanChunk
from recpack.labels import class_places
from recpack.lst import unsafe_path
from recpack.parallel import run
from recpack.problems import Problem
from recpack.progress import Progress
from recpack.sample import (
    ClassMap,
    Float32,
    Samples,
)
from recpack.texts import Texts
from recpack.trees.base import Folder, Opener, Tree, join
from recpack.voc import MAX_ANNOTATION, parse_annotation

Scalar = TypeVar("Scalar", bound=np.generic)

CHUNK = 512
"""Annotations a task."""
_MAX_WINDOW = 8 * CHUNK
"""Names looked through at once for those of a task."""
_SUFFIXES = tuple(EXTENSIONS)


@dataclass(frozen=True)
class ScanTask:
    """A few hundred ids of the image set of this rank; ``candidates`` for each one's image.
    ``root`` knows their files at least."""

    root: Tree
    image_set: int
    annotations: str
    images: str
    ids: Texts
    candidates: list[list[str]]


@dataclass(frozen=True, eq=False)
class ScanResult:
    """A whole devkit: its samples in the order of the image sets, and all problems met.

    ``sizes`` float32 (n, 2) are the images' width and height in pixels, ``image_sets`` int16 (n,)
    the ranks of the image sets that they are in. ``scanned`` is the number of annotations read.
    """

    samples: Samples
    classes: ClassMap
    sizes: Float32
    image_sets: npt.NDArray[np.int16]
    problems: list[Problem]
    scanned: int


class Scanning(Closing):
    """The scan of a whole devkit: it begins in the workers at once, and ``finish`` waits for it.

    Bad data never raises here: it is in ``problems``. Metadata stays within 300 bytes an image.
    """

    def __init__(self, devkit: Devkit, options: Options) -> None:
        tasks = chain.from_iterable(_tasks(devkit, rank) for rank in range(len(devkit.image_sets)))
        count = sum(-(-len(image_set.ids) // CHUNK) for image_set in devkit.image_sets)
        scan = partial(scan_chunk, options=options)
        self._devkit, self._options = devkit, options
        self._chunks = run(scan, tasks, count, jobs=options.jobs, backend=options.backend)

    def close(self) -> None:
        self._chunks.close()

    def finish(self, progress: Callable[[Progress], None] | None = None) -> ScanResult:
        """All of it, judged by the options' policies."""
        return _collected(self._chunks, self._devkit, self._options, progress)


def scan_devkit(
    devkit: Devkit, options: Options, progress: Callable[[Progress], None] | None = None
) -> ScanResult:
    """Read a whole devkit in parallel; see ``Scanning``."""
    with Scanning(devkit, options) as scanning:
        return scanning.finish(progress)


def _collected(
    chunks: Iterable[ScanChunk],
    devkit: Devkit,
    options: Options,
    progress: Callable[[Progress], None] | None,
) -> ScanResult:
    total = sum(len(image_set.ids) for image_set in devkit.image_sets)
    columns = _Columns()
    problems = _repeated_ids(devkit)
    done = 0
    for chunk in chunks:
        columns.append(chunk)
        problems += chunk.problems
        done += chunk.scanned
        if progress is not None:
            progress(Progress("scan", done, total))
    classes = options.class_map or columns.learn_classes()
    widths = columns.array("widths", np.int64)
    samples = Samples(
        devkit.root,
        np.arange(len(widths), dtype=np.int64),
        Texts.joined(columns.paths),
        columns.array("labels", np.float32),
        np.concatenate(([0], np.cumsum(widths))),
        columns.array("image_bytes", np.int64),
        columns.array("treatments", np.uint8),
    )
    sizes = columns.array("sizes", np.float32).reshape(-1, 2)
    image_sets = columns.array("image_sets", np.int16)
    return ScanResult(samples, classes, sizes, image_sets, problems, total)


class _Columns:
    """Chunks end to end. Each column is one buffer that grows in place, because chunks that were
    kept and joined at the end would be in memory twice."""

    def __init__(self) -> None:
        names = ("labels", "widths", "sizes", "image_sets", "image_bytes", "treatments")
        self._buffers = {name: bytearray() for name in names}
        self._chunks: list[tuple[list[str], int, int]] = []
        self.paths: list[Texts] = []

    def append(self, chunk: ScanChunk) -> None:
        for name, buffer in self._buffers.items():
            buffer += getattr(chunk, name).tobytes()
        self.paths.append(chunk.paths)
        self._chunks.append((chunk.names, len(chunk.widths), len(chunk.labels)))

    def array(self, name: str, dtype: type[Scalar]) -> npt.NDArray[Scalar]:
        """A column; the buffer can't grow from then on."""
        return np.frombuffer(self._buffers[name], dtype)

    def learn_classes(self) -> ClassMap:
        """All class names met, sorted; the class ids in the labels, until now each chunk's own
        ranks, are rewritten."""
        names = {name for met, _, _ in self._chunks for name in met}
        classes = ClassMap(tuple(sorted(names)) or ("none",))
        ids = classes.ids()
        labels, widths = self.array("labels", np.float32), self.array("widths", np.int64)
        sample = start = 0
        for met, samples, floats in self._chunks:
            if met and samples:
                chunk = labels[start : start + floats]
                bounds = np.concatenate(([0], np.cumsum(widths[sample : sample + samples])))
                places = class_places(chunk, bounds)
                places = places[chunk[places] >= 0]
                order = np.array([ids[name] for name in met], np.float32)
                chunk[places] = order[chunk[places].astype(np.int64)]
            sample, start = sample + samples, start + floats
        return classes


def _repeated_ids(devkit: Devkit) -> list[Problem]:
    problems = []
    for image_set in devkit.image_sets:
        hashes = np.fromiter(map(hash, image_set.ids), np.int64, len(image_set.ids))
        hashes.sort()
        if (hashes[1:] == hashes[:-1]).any():  # rare, so it may take more memory
            seen: set[str] = set()
            for id_ in image_set.ids:
                if id_ in seen:
                    file = join(image_set.annotations, id_ + ".xml")
                    problems.append(Problem("id-repeated", "warning", file, "kept"))
                seen.add(id_)
    return problems


def _tasks(devkit: Devkit, rank: int) -> Iterator[ScanTask]:
    image_set = devkit.image_sets[rank]
    listing = _Listing(devkit.root, image_set.images)
    listings = {"": listing}
    for start in range(0, len(image_set.ids), CHUNK):
        ids = image_set.ids[start : start + CHUNK]
        known = {} if b"/" in ids.blob else listing.one_each(list(ids))
        candidates = [
            [known[id_]] if id_ in known else _candidates(devkit, image_set, id_, listings)
            for id_ in ids
        ]
        yield ScanTask(
            _root_for(devkit.root, image_set, ids, candidates),
            rank, image_set.annotations, image_set.images, ids, candidates,
        )  # fmt: skip


def _root_for(root: Tree, image_set: ImageSet, ids: Texts, candidates: list[list[str]]) -> Tree:
    """What a task needs of the root; all of it where an annotation must say which its image is."""
    if not all(candidates):
        return root
    return root.only(
        chain(
            (join(image_set.annotations, id_ + ".xml") for id_ in ids),
            (join(image_set.images, name) for names in candidates for name in names),
        )
    )


def _candidates(
    devkit: Devkit, image_set: ImageSet, id_: str, listings: dict[str, _Listing]
) -> list[str]:
    """The images that an id may mean, relative to the image folder."""
    if unsafe_path(id_):
        return []
    folder, _, stem = id_.rpartition("/")
    if folder not in listings:
        listings[folder] = _Listing(
            devkit.root, join(image_set.images, folder) if folder else image_set.images
        )
    return [f"{folder}/{name}" if folder else name for name in listings[folder].find(stem)]


def look_up(devkit: Devkit, file: str) -> tuple[Annotation | None, bytes | None]:
    """What a problem's ``file`` leads to: its annotation and its image's bytes, each None when it
    can't be read or must not be (a link out of the data set)."""
    root = devkit.root
    for image_set in devkit.image_sets:
        prefix = join(image_set.annotations, "")
        if file.startswith(prefix) and file.endswith(".xml"):
            name = file.removeprefix(prefix)
            with root.folder(image_set.annotations) as annotations:
                opener = None if unsafe_path(name) else partial(annotations.open, name)
                annotation = _read_annotation(opener, name, Judge(Options()))
            names = _candidates(devkit, image_set, name.removesuffix(".xml"), {})
            if not names and annotation is not None and not unsafe_path(annotation.filename):
                names = [annotation.filename]
            return annotation, _image_bytes(root, image_set.images, names[0]) if names else None
    return None, _image_bytes(root, ".", file)


def _image_bytes(root: Tree, folder: str, name: str) -> bytes | None:
    try:
        with root.folder(folder) as images, images.open(name) as file:
            return file.read(0, file.size)
    except (OSError, ValueError):
        return None


class _Listing:
    """The images of a folder, to be found by stem."""

    def __init__(self, root: Tree, folder: str) -> None:
        try:
            self._names = Texts(name for name in root.files(folder) if _is_image(name))
        except OSError:
            self._names = Texts()
        self._folded: dict[str, list[str]] | None = None

    def one_each(self, stems: list[str]) -> dict[str, str]:
        """The image of each stem that has just one; for stems that lie close together among the
        names, as those of an image set do, and with nothing found otherwise."""
        # all names of a stem lie between "stem." and "stem/", the character behind the dot
        first = bisect_left(self._names, min(stem + "." for stem in stems))
        last = bisect_left(self._names, max(stem + "/" for stem in stems))
        if last - first > _MAX_WINDOW:
            return {}
        names = list(self._names[first:last])
        found = {name.rpartition(".")[0]: name for name in names}
        return found if len(found) == len(names) else {}

    def find(self, stem: str) -> list[str]:
        """Names of this stem and any extension; failing that, of this stem in any case."""
        found = []
        for at in range(bisect_left(self._names, stem + "."), len(self._names)):
            name = self._names[at]
            if not name.startswith(stem + "."):
                break
            if os.path.splitext(name)[0] == stem:
                found.append(name)
        if not found and len(self._names):
            if self._folded is None:
                self._folded = {}
                for name in self._names:
                    self._folded.setdefault(os.path.splitext(name)[0].lower(), []).append(name)
            found = self._folded.get(stem.lower(), [])
        return found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(_SUFFIXES)


def scan_chunk(task: ScanTask, *, options: Options) -> ScanChunk:
    """Scan one task's annotations; runs in a worker."""
    judge = Judge(options, task.image_set)
    root = task.root
    with root.folder(task.annotations) as annotations, root.folder(task.images) as images:
        files = [id_ + ".xml" for id_ in task.ids]
        bare = b"/" not in task.ids.blob and b"\0" not in task.ids.blob
        safe = files if bare else [None if unsafe_path(file) else file for file in files]
        likely = [names[0] if len(names) == 1 else None for names in task.candidates]
        for file, names, opener, image in zip(
            files,
            task.candidates,
            annotations.in_order(safe),
            images.in_order(likely),
            strict=True,
        ):
            judge.start(join(task.annotations, file))
            annotation = _read_annotation(opener, file, judge)
            if annotation is None:
                continue
            found = _find_image(images, annotation, names, image, judge)
            if found is not None:
                judge.add(annotation, join(task.images, found[0]), found[1], found[2])
    return judge.finish(len(task.ids))


def _read_annotation(opener: Opener | None, name: str, judge: Judge) -> Annotation | None:
    if opener is None:
        judge.note("path-unsafe", "error", field="id", value=name.removesuffix(".xml"))
        return None
    try:
        with opener() as file:
            data = file.whole(MAX_ANNOTATION)
            if len(data) > MAX_ANNOTATION:
                raise AnnotationError("annotation-too-large", "bytes", f"{file.size:,}")
            return parse_annotation(data)
    except AnnotationError as error:
        judge.note(error.code, "error", field=error.field, value=error.value)
    except FileNotFoundError:
        judge.note("annotation-missing", "error")
    except UnsafePathError as error:
        judge.note("path-unsafe", "error", value=error.strerror or "")
    except (OSError, ValueError) as error:
        judge.note("annotation-unreadable", "error", value=getattr(error, "strerror", str(error)))
    return None


def _find_image(
    folder: Folder,
    annotation: Annotation,
    candidates: Sequence[str],
    opener: Opener | None,
    judge: Judge,
) -> tuple[str, int, ImageHeader] | None:
    """The image's name, its bytes and its header; None, and a problem noted, when it has none."""
    if len(candidates) > 1:
        judge.note("image-ambiguous", "error", value=", ".join(candidates))
        return None
    name = candidates[0] if candidates else annotation.filename
    if not candidates and unsafe_path(name):
        code = "path-unsafe" if name else "image-missing"
        judge.note(code, "error", field="filename", value=name)
        return None
    try:
        with opener() if opener is not None else folder.open(name) as file:
            size = file.size
            header = read_header(file.read, size)
            check_whole(header, file.read, size)
    except ImageError as error:
        judge.note(error.code, "error", field="image", value=f"{name}: {error.value}")
    except FileNotFoundError:
        judge.note("image-missing", "error", field="filename", value=annotation.filename)
    except UnsafePathError as error:
        judge.note("path-unsafe", "error", field="image", value=error.strerror or "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", str(error))
        judge.note("image-unreadable", "error", field="image", value=f"{name}: {reason}")
    else:
        return name, size, header
    return None
