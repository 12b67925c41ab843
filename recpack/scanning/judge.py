"""Judge boxes by the policies: keep, repair, drop or refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recpack.columns import Float64, Int64
from recpack.data.annotation import Annotation
from recpack.data.boxes import crop_square, normalise
from recpack.data.labels import assemble_labels
from recpack.data.samples import Treatment
from recpack.formats.image_header import ImageHeader
from recpack.problems import Severity
from recpack.scanning.base_judge import BaseJudge, ScanChunk

SIZE_TOLERANCE = 2.0
"""Pixels by which a box can exceed the image and still count as clipped, not scaled."""

_KEEP = Treatment.KEEP  # enums are slow before Python 3.12

MANY_PIXELS = 16
"""Width and height from which a box in the first pixel is no pixel box: its edges are ratios."""

_ROUNDING = 0.01  # ratios of tools that round can leave the image by this much
_WEIGHTS = np.sqrt([[2], [3], [5], [7], [11], [13]])
"""Of an object's image, class and box. As square roots of primes they give different objects
different sums, almost always."""


class Judge(BaseJudge):
    """Judges boxes."""

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

    def finish(self) -> ScanChunk:
        settings = self._settings
        classes = self._gather()
        sizes, owners = self._sizes, self._owners
        # each column in one piece, because NumPy is slow on short rows
        pixels = np.asfortranarray(
            np.fromiter(self._boxes, np.float64, len(self._boxes)).reshape(-1, 4)
        )
        frames = np.repeat(sizes.T, np.bincount(owners, minlength=len(sizes)), 1).T
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
        return self._chunk(stay, labels, np.diff(bounds))

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
