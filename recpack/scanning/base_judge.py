"""What the judges of all kinds of labels share: the images, their problems, and the columns."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Float64, Int64, StringColumn
from recpack.data.annotation import Annotation, Defect
from recpack.data.samples import Treatment
from recpack.formats.image_codec import can_decode_gif
from recpack.formats.image_header import EXTENSIONS, ImageHeader
from recpack.problems import CATALOGUE, Action, Problem, Severity
from recpack.scanning.settings import JudgeSettings
from recpack.sources.base import Item


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


class BaseJudge(ABC):
    """Collects samples and what they show in columns, and judges them together at the end, because
    NumPy is slow on a few values at a time."""

    _dropped: Action = "dropped box"
    """What is done about an unknown class."""

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
        # known in the end: ``_rows`` as columns · of each image · of each object
        self._columns: Sequence[tuple[Any, ...]] = ()
        self._files: Sequence[str] = ()
        self._sizes: Float64 = np.zeros((0, 2))
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

    @abstractmethod
    def _judge_size(
        self, annotation: Annotation, header: ImageHeader
    ) -> tuple[tuple[float, float], Treatment]:
        """The size (width, height) that the label refers to, and the image's treatment."""

    def _judge_classes(self, annotation: Annotation) -> None:
        skip = self._settings.unknown_class == "skip"
        for name, number in zip(annotation.names, annotation.objects, strict=True):
            if name not in self._ids:
                self._note(
                    "class-unknown",
                    self._dropped if skip else "error",
                    severity="warning" if skip else "error",
                    object=number,
                    field="name",
                    value=name[:80],
                )

    @abstractmethod
    def finish(self) -> ScanChunk:
        """The samples that stay, and all problems."""

    def _gather(self) -> Int64:
        """The columns; returns the class id of each object, -1 where it is unknown."""
        self._columns = list(zip(*self._rows, strict=True)) or [()] * 8
        _, self._files, _, _, _, counts, *sizes = self._columns
        self._sizes = np.array(sizes, np.float64).T
        self._owners = np.repeat(np.arange(len(counts)), np.array(counts, np.int64))
        if self._learn:
            self._ids = {name: rank for rank, name in enumerate(dict.fromkeys(self._names))}
        ids = self._ids
        return np.array([ids.get(name, -1) for name in self._names], np.int64)

    def _chunk(self, stay: npt.NDArray[np.bool_], labels: Float32, widths: Int64) -> ScanChunk:
        """The samples that ``stay``, with their labels end to end and the floats of each."""
        paths, files, image_bytes, identities, treatments, *_ = self._columns
        chosen = stay.tolist()
        return ScanChunk(
            StringColumn(compress(paths, chosen)),
            labels,
            widths,
            self._sizes[stay].astype(np.float32),
            np.full(np.count_nonzero(stay), self._image_set, np.int16),
            np.array(image_bytes, np.int64)[stay],
            np.array(identities, np.int64)[stay],
            np.frombuffer(bytes(treatments), np.uint8)[stay],
            list(self._ids) if self._learn else [],
            self.problems,
            self._annotations,
            self._images(compress(zip(files, paths, strict=True), chosen)),
        )

    def _images(self, samples: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Of these files and paths, the path of each file with problems."""
        files = {problem.file for problem in self.problems}
        return {file: path for file, path in samples if file in files} if files else {}

    def _judge_samples(self, counts: Int64) -> npt.NDArray[np.bool_]:
        """Which samples stay, bool (n,): those with objects (or as ``negatives`` says) and without
        errors."""
        settings = self._settings
        stay = np.ones(len(counts), np.bool_)
        files_at_fault = {problem.file for problem in self.problems if settings.fatal(problem)}
        told = {one.file for one in self.problems if one.action == "dropped image"} | files_at_fault
        if settings.negatives != "keep":
            for i in np.flatnonzero(counts == 0).tolist():
                stay[i] = False
                if self._files[i] in told:
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
