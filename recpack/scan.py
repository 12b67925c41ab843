"""The first pass over a devkit: every annotation parsed, every image's header read, every box
judged, in parallel; nothing is written."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from recpack.boxes import crop_square, normalise, round_to
from recpack.config import Options
from recpack.errors import AnnotationError, ImageError
from recpack.files import Folder, UnsafePathError, read_whole
from recpack.image import ImageHeader, ends_whole, read_header
from recpack.labels import assemble_labels, class_places
from recpack.lst import unsafe_path
from recpack.parallel import run
from recpack.problems import Action, Problem, Severity
from recpack.progress import Progress
from recpack.sample import (
    ClassMap,
    Float32,
    Int64,
    Samples,
    Treatment,
)
from recpack.texts import Texts
from recpack.voc import MAX_ANNOTATION, Annotation, Devkit, ImageSet, parse_annotation

CHUNK = 512
"""Annotations a task."""

IMAGE_EXTENSIONS = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg", ".png": "png",
    ".bmp": "bmp", ".dib": "bmp", ".gif": "gif", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip

SIZE_TOLERANCE = 2.0
"""Pixels by which a box may stick out of the image and still be called clipped, not scaled."""


@dataclass(frozen=True)
class ScanTask:
    """A few hundred ids of one image set; ``images`` are the candidates for each one's image."""

    annotations: str
    images: str
    ids: Texts
    candidates: list[list[str]]


@dataclass(frozen=True, eq=False)
class ScanChunk:
    """What a task found, as columns.

    ``labels`` float32, all label vectors end to end, with class ids (ranks in ``names`` when
    classes are learnt from the data) · ``widths`` int64 (n,) floats a label · ``sizes`` float32
    (n, 2), width and height in pixels · ``scanned`` annotations read.
    """

    paths: Texts
    labels: Float32
    widths: Int64
    sizes: Float32
    image_bytes: Int64
    treatments: npt.NDArray[np.uint8]
    names: list[str]
    problems: list[Problem]
    scanned: int


@dataclass(frozen=True, eq=False)
class ScanResult:
    """A whole devkit: its samples in the order of the image sets, and all problems met.

    ``sizes`` float32 (n, 2) are the images' width and height in pixels. ``scanned`` is the number
    of annotations read.
    """

    samples: Samples
    classes: ClassMap
    sizes: Float32
    problems: list[Problem]
    scanned: int


def scan_devkit(
    devkit: Devkit, options: Options, progress: Callable[[Progress], None] | None = None
) -> ScanResult:
    """Read a whole devkit in parallel and judge it by the options' policies.

    Bad data never raises here: it is in ``problems``. Metadata stays within 300 bytes an image.
    """
    tasks = chain.from_iterable(_tasks(devkit, image_set) for image_set in devkit.image_sets)
    task_count = sum(-(-len(image_set.ids) // CHUNK) for image_set in devkit.image_sets)
    total = sum(len(image_set.ids) for image_set in devkit.image_sets)
    scan = partial(scan_chunk, root=os.fspath(devkit.root), options=options)
    # columns are gathered and joined one by one, so that no more than one exists twice
    paths: list[Texts] = []
    names: list[list[str]] = []
    columns: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("labels", "widths", "sizes", "image_bytes", "treatments")
    }
    problems = _repeated_ids(devkit)
    done = 0
    for chunk in run(scan, tasks, task_count, jobs=options.jobs, backend=options.backend):
        paths.append(chunk.paths)
        names.append(chunk.names)
        problems += chunk.problems
        for name, parts in columns.items():
            parts.append(getattr(chunk, name))
        done += chunk.scanned
        if progress is not None:
            progress(Progress("scan", done, total))
    classes = options.class_map or _learn_classes(names, columns["labels"], columns["widths"])
    widths = np.concatenate(columns.pop("widths"))
    samples = Samples(
        os.fspath(devkit.root),
        np.arange(len(widths), dtype=np.int64),
        Texts.joined(paths),
        np.concatenate(columns.pop("labels")),
        np.concatenate(([0], np.cumsum(widths))),
        np.concatenate(columns.pop("image_bytes")),
        np.concatenate(columns.pop("treatments")),
    )
    return ScanResult(samples, classes, np.concatenate(columns.pop("sizes")), problems, total)


def _learn_classes(names: list[list[str]], labels: list[Float32], widths: list[Int64]) -> ClassMap:
    """All names met, sorted; each chunk's class ids are rewritten from its own ranks to ids."""
    classes = ClassMap(tuple(sorted(set(chain.from_iterable(names)))) or ("none",))
    ids = classes.ids()
    for met, chunk, width in zip(names, labels, widths, strict=True):
        if met and len(chunk):
            places = class_places(chunk, np.concatenate(([0], np.cumsum(width))))
            places = places[chunk[places] >= 0]
            order = np.array([ids[name] for name in met], np.float32)
            chunk[places] = order[chunk[places].astype(np.int64)]
    return classes


def _repeated_ids(devkit: Devkit) -> list[Problem]:
    problems = []
    for image_set in devkit.image_sets:
        hashes = np.fromiter(map(hash, image_set.ids), np.int64, len(image_set.ids))
        if len(np.unique(hashes)) < len(hashes):  # rare, so it may take more memory
            seen: set[str] = set()
            for id_ in image_set.ids:
                if id_ in seen:
                    file = _join(image_set.annotations, id_ + ".xml")
                    problems.append(Problem("id-repeated", "warning", file, "kept"))
                seen.add(id_)
    return problems


def _tasks(devkit: Devkit, image_set: ImageSet) -> Iterator[ScanTask]:
    listings: dict[str, _Listing] = {}

    def candidates(id_: str) -> list[str]:
        if unsafe_path(id_):
            return []
        folder, _, stem = id_.rpartition("/")
        if folder not in listings:
            listings[folder] = _Listing(os.path.join(devkit.root, image_set.images, folder))
        return [f"{folder}/{name}" if folder else name for name in listings[folder].find(stem)]

    for start in range(0, len(image_set.ids), CHUNK):
        ids = image_set.ids[start : start + CHUNK]
        yield ScanTask(
            image_set.annotations, image_set.images, ids, [candidates(id_) for id_ in ids]
        )


class _Listing:
    """The images of a folder, to be found by stem."""

    def __init__(self, folder: str) -> None:
        try:
            names = (entry.name for entry in os.scandir(folder))
            self._names = Texts(sorted(name for name in names if _is_image(name)))
        except OSError:
            self._names = Texts()
        self._folded: dict[str, list[str]] | None = None

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
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def scan_chunk(task: ScanTask, *, root: str, options: Options) -> ScanChunk:
    """Scan one task's annotations; runs in a worker."""
    columns = _Columns(options)
    with Folder(root, task.annotations) as annotations, Folder(root, task.images) as images:
        for id_, candidates in zip(task.ids, task.candidates, strict=True):
            columns.start(_join(task.annotations, id_ + ".xml"))
            annotation = _read_annotation(annotations, id_, columns)
            if annotation is None:
                continue
            found = _find_image(images, annotation, candidates, columns)
            if found is not None:
                columns.add(annotation, _join(task.images, found[0]), found[1], found[2])
    return columns.finish(len(task.ids))


def _join(folder: str, name: str) -> str:
    return str(PurePosixPath(folder, name))


def _read_annotation(folder: Folder, id_: str, columns: _Columns) -> Annotation | None:
    if unsafe_path(id_ + ".xml"):
        columns.note("path-unsafe", "error", field="id", value=id_)
        return None
    try:
        file, size = folder.open(id_ + ".xml")
        try:
            if size > MAX_ANNOTATION:
                raise AnnotationError("annotation-too-large", "bytes", f"{size:,}")
            return parse_annotation(read_whole(file, size))
        finally:
            os.close(file)
    except AnnotationError as error:
        columns.note(error.code, "error", field=error.field, value=error.value)
    except FileNotFoundError:
        columns.note("annotation-missing", "error")
    except UnsafePathError as error:
        columns.note("path-unsafe", "error", value=error.strerror or "")
    except (OSError, ValueError) as error:
        columns.note("annotation-unreadable", "error", value=getattr(error, "strerror", str(error)))
    return None


def _find_image(
    folder: Folder, annotation: Annotation, candidates: Sequence[str], columns: _Columns
) -> tuple[str, int, ImageHeader] | None:
    """The image's name, its bytes and its header; None, and a problem noted, when it has none."""
    if len(candidates) > 1:
        columns.note("image-ambiguous", "error", value=", ".join(candidates))
        return None
    name = candidates[0] if candidates else annotation.filename
    if not candidates and unsafe_path(name):
        code = "path-unsafe" if name else "image-missing"
        columns.note(code, "error", field="filename", value=name)
        return None
    try:
        file, size = folder.open(name)
        try:

            def read(offset: int, length: int) -> bytes:
                return os.pread(file, length, offset)

            header = read_header(read, size)
            if not ends_whole(header.kind, read, size):
                raise ImageError("image-truncated", f"{size:,} bytes without an end marker")
        finally:
            os.close(file)
    except ImageError as error:
        columns.note(error.code, "error", field="image", value=f"{name}: {error.value}")
    except FileNotFoundError:
        columns.note("image-missing", "error", field="filename", value=annotation.filename)
    except UnsafePathError as error:
        columns.note("path-unsafe", "error", field="image", value=error.strerror or "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", str(error))
        columns.note("image-unreadable", "error", field="image", value=f"{name}: {reason}")
    else:
        return name, size, header
    return None


class _Columns:
    """A chunk's samples and objects as growing columns; judged together at the end, because numpy
    is fast on many boxes and slow on a few."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._learn = options.class_map is None
        self._ids = {} if options.class_map is None else options.class_map.ids()
        self._file = ""
        self.problems: list[Problem] = []
        self._paths: list[str] = []
        self._files: list[str] = []
        self._sizes: list[tuple[float, float]] = []
        self._bytes: list[int] = []
        self._treatments: list[int] = []
        # one entry a box
        self._boxes: list[float] = []
        self._classes: list[int] = []
        self._difficult: list[int] = []
        self._objects: list[int] = []
        self._owners: list[int] = []

    def start(self, file: str) -> None:
        """The annotation that the next problems are about."""
        self._file = file

    def note(
        self,
        code: str,
        severity: Severity,
        action: Action = "error",
        *,
        object: int = 0,
        field: str = "",
        value: str = "",
        file: str = "",
    ) -> None:
        problem = Problem(code, severity, file or self._file, action, object, field, value)
        self.problems.append(problem)

    def add(self, annotation: Annotation, path: str, size: int, header: ImageHeader) -> None:
        """One annotation with its image."""
        for defect in annotation.defects:
            harmless = defect.code == "flag-text"
            self.note(
                defect.code,
                "warning" if harmless else "error",
                "kept" if harmless else "error",
                object=defect.object,
                field=defect.field,
                value=defect.value,
            )
        self._judge_path(path, header)
        frame, treatment = self._judge_size(annotation, header)
        owner = len(self._paths)
        self._paths.append(path)
        self._files.append(self._file)
        self._sizes.append(frame)
        self._bytes.append(size)
        self._treatments.append(treatment)
        ids = self._ids
        for name in annotation.names:
            number = ids.get(name, -1)
            if number < 0 and self._learn:
                number = ids[name] = len(ids)
            self._classes.append(number)
        if -1 in self._classes[len(self._classes) - len(annotation.names) :]:
            self._judge_classes(annotation)
        self._boxes += annotation.boxes
        self._difficult += annotation.difficult
        self._objects += annotation.objects
        self._owners += [owner] * len(annotation.names)

    def _judge_path(self, path: str, header: ImageHeader) -> None:
        extension = os.path.splitext(path)[1].lower()
        if IMAGE_EXTENSIONS.get(extension) != header.kind:
            self.note("extension-wrong", "note", "kept", field=header.kind, value=path)
        if " " in path:
            self.note("path-white-space", "warning", "kept", value=path)
        if path != path.strip() or not path.isprintable():
            try:
                path.encode()
                broken = path != path.strip() or len(path.splitlines()) > 1 or "\t" in path
            except UnicodeEncodeError:  # bytes that are no text, from the file system
                broken = True
            if broken:
                self.note("path-unlistable", "error", value=ascii(path))

    def _judge_size(
        self, annotation: Annotation, header: ImageHeader
    ) -> tuple[tuple[float, float], Treatment]:
        """The frame that the boxes are measured in, and what the image needs."""
        stored = (float(header.width), float(header.height))
        declared = (annotation.width, annotation.height)
        if declared == stored and header.passes:
            return stored, Treatment.KEEP
        upright = (float(header.upright[0]), float(header.upright[1]))
        frame = upright
        treatment = Treatment.KEEP if header.passes else Treatment.UPRIGHT
        if header.orientation != 1:
            if declared == stored != upright:
                frame, treatment = stored, Treatment.AS_STORED
            self.note(
                "image-rotated", "warning", "re-encoded",
                field="orientation", value=str(header.orientation),
            )  # fmt: skip
        elif treatment is not Treatment.KEEP:
            kind = f"{header.kind}, {header.channels} channels of {header.bits} bits"
            self.note("image-converted", "note", "re-encoded", field="image", value=kind)
        if min(declared) <= 0 or not max(declared) < float("inf"):
            value = f"{declared[0]:g} x {declared[1]:g}"
            self.note("size-missing", "warning", "kept", field="size", value=value)
        elif declared != frame:
            sizes = f"{declared[0]:g} x {declared[1]:g}, image {frame[0]:g} x {frame[1]:g}"
            if _fits(annotation, declared, 0.0) and not _fits(annotation, frame, SIZE_TOLERANCE):
                if self._options.size_mismatch == "rescale":
                    self.note("size-rescale", "warning", "rescaled", field="size", value=sizes)
                    frame = declared
                else:
                    self.note("size-rescale", "error", field="size", value=sizes)
            else:
                self.note("size-mismatch", "warning", "kept", field="size", value=sizes)
        return frame, treatment

    def _judge_classes(self, annotation: Annotation) -> None:
        skip = self._options.unknown_class == "skip"
        for name, number in zip(annotation.names, annotation.objects, strict=True):
            if name not in self._ids:
                self.note(
                    "class-unknown",
                    "warning" if skip else "error",
                    "dropped box" if skip else "error",
                    object=number,
                    field="name",
                    value=name[:80],
                )

    def finish(self, scanned: int) -> ScanChunk:
        options = self._options
        owners = np.array(self._owners, np.int64)
        sizes = np.array(self._sizes, np.float64).reshape(-1, 2)
        difficult = np.array(self._difficult, np.int64)
        classes = np.array(self._classes, np.int64)
        pixels = np.array(self._boxes, np.float64).reshape(-1, 4)
        keep = classes >= 0
        if options.difficult == "drop":
            self._note_boxes(keep & (difficult != 0), "difficult-dropped")
            keep &= difficult == 0
        judged = normalise(
            pixels[keep],
            sizes[owners[keep]],
            policy=options.box_policy,
            one_based=options.one_based,
            precision=options.precision,
        )
        rows = np.flatnonzero(keep)
        for problem in judged.problems:
            row = int(rows[problem.row])
            self.note(
                problem.code,
                problem.severity,
                problem.action,
                object=self._objects[row],
                field="bndbox",
                value=" ".join(f"{value:g}" for value in pixels[row].tolist()),
                file=self._files[owners[row]],
            )
        boxes = np.zeros((len(keep), 4))
        boxes[keep] = judged.boxes
        keep[rows[~judged.keep]] = False
        if options.center_crop:
            boxes, holds = crop_square(boxes, sizes[owners])
            boxes = round_to(boxes, options.precision)
            self._note_boxes(keep & ~holds, "box-cropped-away")
            keep &= holds
        samples = self._judge_samples(np.bincount(owners[keep], minlength=len(sizes)))
        keep &= samples[owners]
        parts = [classes[keep, None], boxes[keep]]
        if options.difficult == "column":
            parts.append(difficult[keep, None])
        chosen = np.flatnonzero(samples).tolist()
        labels, bounds = assemble_labels(
            np.concatenate(parts, 1).astype(np.float32),
            np.bincount(owners[keep], minlength=len(sizes))[samples],
        )
        return ScanChunk(
            Texts(self._paths[i] for i in chosen),
            labels,
            np.diff(bounds),
            sizes[samples].astype(np.float32),
            np.array(self._bytes, np.int64)[samples],
            np.array(self._treatments, np.uint8)[samples],
            list(self._ids) if self._learn else [],
            self.problems,
            scanned,
        )

    def _note_boxes(self, rows: npt.NDArray[np.bool_], code: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            self.note(
                code, "note", "dropped box",
                object=self._objects[row], file=self._files[self._owners[row]],
            )  # fmt: skip

    def _judge_samples(self, counts: Int64) -> npt.NDArray[np.bool_]:
        """Which samples stay: those with objects (or as ``negatives`` says) and without errors."""
        options = self._options
        stay = np.ones(len(counts), np.bool_)
        fatal: tuple[Severity, ...] = ("error", "warning") if options.strict else ("error",)
        refused = {problem.file for problem in self.problems if problem.severity in fatal}
        if options.negatives != "keep":
            for i in np.flatnonzero(counts == 0).tolist():
                stay[i] = False
                if self._files[i] in refused:
                    continue
                if options.negatives == "error":
                    self.note("no-objects", "error", file=self._files[i])
                else:
                    self.note("no-objects", "note", "dropped image", file=self._files[i])
        if refused:
            stay &= [file not in refused for file in self._files]
        action: Action = "dropped image" if options.on_error == "skip" else "error"
        self.problems = [
            replace(problem, severity="error", action=action)
            if problem.severity in fatal
            else problem
            for problem in self.problems
        ]
        return stay


def _fits(annotation: Annotation, frame: tuple[float, float], tolerance: float) -> bool:
    boxes = annotation.boxes
    return (
        max(boxes[0::4] + boxes[2::4], default=0.0) <= frame[0] + tolerance
        and max(boxes[1::4] + boxes[3::4], default=0.0) <= frame[1] + tolerance
    )
