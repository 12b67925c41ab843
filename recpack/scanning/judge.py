"""Judge annotations and images by the policies: keep, repair, drop or refuse."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Float64, Int64, StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.data.boxes import crop_square, normalise
from recpack.data.labels import assemble_labels
from recpack.data.samples import Treatment
from recpack.formats.image_codec import can_decode_gif
from recpack.formats.image_header import EXTENSIONS, ImageHeader
from recpack.problems import CATALOGUE, Action, Problem, Severity
from recpack.scanning.settings import JudgeSettings
from recpack.sources.base import Item

SIZE_TOLERANCE = 2.0
"""Pixels by which a box can exceed the image and still count as clipped, not scaled."""

_KEEP = Treatment.KEEP  # enums are slow before Python 3.12

MANY_PIXELS = 16
"""Width and height from which a box in the first pixel is no pixel box: its edges are ratios."""

_ROUNDING = 0.01  # ratios of tools that round can leave the image by this much
_WEIGHTS = np.sqrt([[2], [3], [5], [7], [11], [13]])
"""Of an object's image, class and box. As square roots of primes they give different objects
different sums, almost always."""


@dataclass(frozen=True, eq=False)
class ScanChunk:
    """The samples of one task, as columns.

    ``labels`` float32, all label vectors end to end, with class ids (ranks in ``names`` when
    the classes come from the data) · ``widths`` int64 (n,), floats per label · ``sizes`` float32
    (n, 2), width and height in pixels · ``image_sets`` int16 (n,), ranks · ``annotations``: the
    number read · ``images``: the image's path for each file with problems that has a sample.
    """

    paths: StringColumn
    labels: Float32
    widths: Int64
    sizes: Float32
    image_sets: npt.NDArray[np.int16]
    image_bytes: Int64
    identities: Int64
    treatments: npt.NDArray[np.uint8]
    names: list[str]
    problems: list[Problem]
    annotations: int
    images: dict[str, str]


class Judge:
    """Collects samples and objects in columns, and judges them together at the end, because NumPy
    is slow on a few boxes at a time."""

    def __init__(self, settings: JudgeSettings, image_set: int = 0) -> None:
        self._settings = settings
        self._image_set = image_set
        self._learn = settings.class_map is None
        self._ids = {} if settings.class_map is None else settings.class_map.ids()
        self._known = frozenset(self._ids)
        self._file = ""
        self._annotations = 0
        self.problems: list[Problem] = []
        # of each image: path, file, bytes, identity, treatment, number of boxes, width, height
        self._rows: list[tuple[str, str, int, int, int, int, float, float]] = []
        # one entry per box
        self._names: list[str] = []
        self._boxes: list[float] = []
        self._difficult: list[int] = []
        self._objects: list[int] = []
        # of each image, of each box; known in the end
        self._files: Sequence[str] = ()
        self._owners: Int64 = np.zeros(0, np.int64)

    def add(self, item: Item) -> None:
        """Add an annotation with its image, or its defect."""
        self._annotations += 1
        self._file = item.file
        annotation, header = item.annotation, item.header
        if annotation is None or header is None:
            if item.defect is not None:
                self._note_defect(item.defect)
            return
        for defect in annotation.defects:
            self._note_defect(defect, has_image=True)
        if header.kind == "gif" and not can_decode_gif():
            self._note("image-unsupported", field="image", value=header.kind)
        self._judge_path(item.image, header)
        (width, height), treatment = self._judge_size(annotation, header)
        names = annotation.names
        if not self._learn and not self._known.issuperset(names):
            self._judge_classes(annotation)
        self._rows.append((
            item.image, item.file, item.size, item.identity, treatment, len(names), width, height,
        ))  # fmt: skip
        self._names += names
        self._boxes += annotation.boxes
        self._difficult += annotation.difficult
        self._objects += annotation.objects

    def _note_defect(self, defect: Defect, *, has_image: bool = False) -> None:
        severity: Severity | None = None
        background = has_image and self._settings.negatives == "keep"
        if defect.code == "annotation-missing" and background:
            severity = "warning"
        if defect.code == "labels-missing" and not background:
            return  # the image has no objects, and that is told
        self._note(
            defect.code,
            severity=severity,
            object=defect.object,
            field=defect.field,
            value=defect.value,
        )

    def _note(
        self,
        code: str,
        action: Action | None = None,
        *,
        severity: Severity | None = None,
        object: int = 0,
        field: str = "",
        value: str = "",
        file: str = "",
    ) -> None:
        """Add a problem. Defaults: the severity of its code; action "error" for an error, else
        "kept"."""
        severity = severity or CATALOGUE[code].severity
        action = action or ("error" if severity == "error" else "kept")
        problem = Problem(code, severity, file or self._file, action, object, field, value)
        self.problems.append(problem)

    def _judge_path(self, path: str, header: ImageHeader) -> None:
        if (
            not path.endswith(".jpg") or header.kind != "jpeg"  # the common case, checked first
        ) and EXTENSIONS.get(os.path.splitext(path)[1].lower()) != header.kind:
            self._note("extension-wrong", value=f"{path} is {header.kind}")
        if path.isprintable() and " " not in path:
            return
        if " " in path:
            self._note("path-white-space", value=path)
        try:
            path.encode()
            unlistable = path != path.strip() or len(path.splitlines()) > 1 or "\t" in path
        except UnicodeEncodeError:  # a file name that is not text
            unlistable = True
        if unlistable:
            self._note("path-unlistable", value=ascii(path))

    def _judge_size(
        self, annotation: Annotation, header: ImageHeader
    ) -> tuple[tuple[float, float], Treatment]:
        """The size (width, height) that the boxes refer to, and the image's treatment."""
        stored: tuple[float, float] = (header.width, header.height)
        declared = (annotation.width, annotation.height)
        if declared == stored and header.passes:
            return stored, _KEEP
        upright: tuple[float, float] = header.upright
        frame = upright
        treatment = Treatment.KEEP if header.passes else Treatment.UPRIGHT
        if header.orientation != 1:
            if declared == stored != upright:
                frame, treatment = stored, Treatment.AS_STORED
            boxes = "as stored" if treatment is Treatment.AS_STORED else "on the upright image"
            value = f"{header.orientation}, boxes {boxes}"
            self._note("image-rotated", "re-encoded", field="orientation", value=value)
        elif treatment is not Treatment.KEEP:
            kind = f"{header.kind}, {header.channels} channels of {header.bits} bits"
            self._note("image-converted", "re-encoded", field="image", value=kind)
        unknown = min(declared) <= 0 or not max(declared) < float("inf")
        sizes = f"{declared[0]:g} x {declared[1]:g}, image {frame[0]:g} x {frame[1]:g}"
        suspect = declared == frame[::-1] or (
            header.orientation >= 5 and (unknown or declared == frame)
        )
        turned = _turned(annotation, frame) if suspect else None
        if turned == "error" or (turned and declared != frame and not unknown):
            self._note("image-turned", severity=turned, field="size", value=sizes)
        elif unknown:
            value = f"{declared[0]:g} x {declared[1]:g}"
            self._note("size-missing", field="size", value=value)
        elif declared != frame:
            if _fits(annotation, declared, 0.0) and not _fits(annotation, frame, SIZE_TOLERANCE):
                frame = declared
                if self._settings.size_mismatch == "rescale":
                    self._note(
                        "size-rescale", "rescaled", severity="warning", field="size", value=sizes
                    )
                else:
                    self._note("size-rescale", field="size", value=sizes)
            else:
                self._note("size-mismatch", field="size", value=sizes)
        return frame, treatment

    def _judge_classes(self, annotation: Annotation) -> None:
        skip = self._settings.unknown_class == "skip"
        for name, number in zip(annotation.names, annotation.objects, strict=True):
            if name not in self._ids:
                self._note(
                    "class-unknown",
                    "dropped box" if skip else "error",
                    severity="warning" if skip else "error",
                    object=number,
                    field="name",
                    value=name[:80],
                )

    def finish(self) -> ScanChunk:
        """The samples that stay, and all problems."""
        settings = self._settings
        columns = list(zip(*self._rows, strict=True)) or [()] * 8
        paths, self._files, image_bytes, identities, treatments, counts, widths, heights = columns
        if self._learn:
            self._ids = {name: rank for rank, name in enumerate(dict.fromkeys(self._names))}
        ids = self._ids
        classes = np.array([ids.get(name, -1) for name in self._names], np.int64)
        # each column in one piece, because NumPy is slow on short rows
        pixels = np.asfortranarray(
            np.fromiter(self._boxes, np.float64, len(self._boxes)).reshape(-1, 4)
        )
        sizes = np.array((widths, heights), np.float64).T
        boxes_each = np.array(counts, np.int64)
        self._owners = owners = np.repeat(np.arange(len(sizes)), boxes_each)
        frames = np.repeat(sizes.T, boxes_each, 1).T
        self._judge_ratios(pixels, owners, sizes)
        keep = classes >= 0
        if settings.difficult == "drop":
            difficult = np.array(self._difficult, np.bool_)
            self._note_boxes(keep & difficult, "difficult-dropped")
            keep &= ~difficult
        rows = np.flatnonzero(keep)
        result = normalise(
            *_of(keep, pixels, frames),
            policy=settings.box_policy,
            one_based=settings.one_based,
            precision=settings.precision,
        )
        for problem in result.problems:
            row = int(rows[problem.row])
            self._note(
                problem.code,
                problem.action,
                severity=problem.severity,
                object=self._objects[row],
                field="bndbox",
                value=_box_text(pixels[row]),
                file=self._files[owners[row]],
            )
        boxes = np.zeros_like(pixels)
        boxes[rows] = result.boxes
        keep[rows] = result.keep
        if settings.center_crop:
            boxes, inside = crop_square(boxes, frames, settings.precision)
            self._note_boxes(keep & ~inside, "box-cropped-away")
            keep &= inside
        self._note_repeated(keep, owners, classes, pixels)
        stay = self._judge_samples(np.bincount(owners[keep], minlength=len(sizes)))
        keep &= stay[owners]
        parts = [classes[:, None], boxes]
        if settings.difficult == "column":
            parts.append(np.array(self._difficult, np.int64)[:, None])
        kept_owners, *parts = _of(keep, owners, *parts)  # a box that is dropped can have any size
        labels, bounds = assemble_labels(
            np.concatenate(parts, 1, dtype=np.float32),
            np.bincount(kept_owners, minlength=len(sizes))[stay],
        )
        chosen = stay.tolist()
        return ScanChunk(
            StringColumn(compress(paths, chosen)),
            labels,
            np.diff(bounds),
            sizes[stay].astype(np.float32),
            np.full(np.count_nonzero(stay), self._image_set, np.int16),
            np.array(image_bytes, np.int64)[stay],
            np.array(identities, np.int64)[stay],
            np.frombuffer(bytes(treatments), np.uint8)[stay],
            list(self._ids) if self._learn else [],
            self.problems,
            self._annotations,
            self._images(compress(zip(self._files, paths, strict=True), chosen)),
        )

    def _judge_ratios(self, pixels: Float64, owners: Int64, sizes: Float64) -> None:
        """Find images whose boxes are all between 0 and 1."""
        unit = pixels.max(1, initial=0.0) < 1 + _ROUNDING
        if not unit.any():
            return
        unit &= pixels.min(1, initial=0.0) > -_ROUNDING
        area = np.all(pixels[:, :2] != pixels[:, 2:], 1)
        images = np.bincount(owners[unit & area], minlength=len(sizes)) > 0
        images &= np.bincount(owners[~unit], minlength=len(sizes)) == 0
        images &= sizes.min(1, initial=np.inf) >= MANY_PIXELS
        for image in np.flatnonzero(images).tolist():
            row = int(np.flatnonzero((owners == image) & area)[0])
            self._note(
                "box-ratios",
                object=self._objects[row],
                field="bndbox",
                value=_box_text(pixels[row]),
                file=self._files[image],
            )

    def _images(self, samples: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Of these files and paths, the path of each file with problems."""
        files = {problem.file for problem in self.problems}
        return {file: path for file, path in samples if file in files} if files else {}

    def _note_boxes(self, rows: npt.NDArray[np.bool_], code: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            self._note(
                code, "dropped box",
                object=self._objects[row], file=self._files[self._owners[row]],
            )  # fmt: skip

    def _note_repeated(
        self, rows: npt.NDArray[np.bool_], owners: Int64, classes: Int64, pixels: Float64
    ) -> None:
        """Objects with the same owner, class and box as one before. Almost never are there any, and
        then the sorted sums show it."""
        columns = np.vstack(_of(rows, owners, classes, *pixels.T))
        sums = np.sort((columns * _WEIGHTS).sum(0))
        if not (sums[1:] == sums[:-1]).any():
            return
        first: dict[tuple[float, ...], int] = {}
        for row in np.flatnonzero(rows).tolist():
            box = pixels[row].tolist()
            other = first.setdefault((owners[row], classes[row], *box), row)
            if other != row:
                value = " ".join(f"{edge:g}" for edge in box)
                self._note(
                    "object-repeated",
                    object=self._objects[row],
                    field="bndbox",
                    value=f"{value}, as object {self._objects[other]}",
                    file=self._files[self._owners[row]],
                )

    def _judge_samples(self, counts: Int64) -> npt.NDArray[np.bool_]:
        """Which samples stay, bool (n,): those with objects (or as ``negatives`` says) and without
        errors."""
        settings = self._settings
        stay = np.ones(len(counts), np.bool_)
        files_at_fault = {problem.file for problem in self.problems if settings.fatal(problem)}
        if settings.negatives != "keep":
            for i in np.flatnonzero(counts == 0).tolist():
                stay[i] = False
                if self._files[i] in files_at_fault:
                    continue
                if settings.negatives == "error":
                    self._note("no-objects", severity="error", file=self._files[i])
                else:
                    self._note("no-objects", "dropped image", file=self._files[i])
        if files_at_fault:
            stay &= np.array([file not in files_at_fault for file in self._files], np.bool_)
        self.problems = [
            replace(problem, severity="error", action=settings.error_action)
            if settings.fatal(problem)
            else problem
            for problem in self.problems
        ]
        return stay


def _of(chosen: npt.NDArray[np.bool_], *tables: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The chosen rows of each table; all rows are no copy."""
    return list(tables) if chosen.all() else [table[chosen] for table in tables]


def _box_text(box: Float64) -> str:
    return " ".join(f"{edge:g}" for edge in box.tolist())


def _turned(annotation: Annotation, frame: tuple[float, float]) -> Severity | None:
    """Whether the boxes are those of the ``frame`` turned by 90°: "error" if they fit only that,
    "warning" if they fit both."""
    turned = frame[::-1]
    if not annotation.boxes or turned == frame or not _fits(annotation, turned, 0.0):
        return None
    return "warning" if _fits(annotation, frame, SIZE_TOLERANCE) else "error"


def _fits(annotation: Annotation, frame: tuple[float, float], tolerance: float) -> bool:
    boxes = annotation.boxes
    return (
        max(boxes[0::4] + boxes[2::4], default=0.0) <= frame[0] + tolerance
        and max(boxes[1::4] + boxes[3::4], default=0.0) <= frame[1] + tolerance
    )
