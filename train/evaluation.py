"""Measure an endpoint on a ``.rec``; what it has answered so far is kept in a file."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import recpack

from .channels import demand_labels
from .classes import Accuracy, Classification, accuracy_of_one, accuracy_of_several, classification
from .detections import Detection, Detections, Evaluation, evaluate, name_of, truth_of
from .endpoint import Endpoint
from .errors import SpecError
from .files import open_file
from .kinds import Kind, kind_of_labels


def evaluate_endpoint(
    endpoint: Endpoint,
    rec: str,
    *,
    overlap: float = 0.5,
    eleven_points: bool = False,
    resume: str | Path | None = None,
) -> Evaluation:
    """VOC's mean average precision of an endpoint on a ``.rec`` with boxes, by path or ``s3://…``.

    Every answer is added to the file ``resume``; an image whose answer is there already is not sent
    again, so a run that failed goes on where it ended. Raises SpecError when the ``.rec`` has other
    classes than the endpoint, or the file has answers of another model.
    """
    found = evaluate_any(
        endpoint, rec, overlap=overlap, eleven_points=eleven_points, resume=resume,
        kind="detection",
    )  # fmt: skip
    assert isinstance(found, Evaluation)
    return found


def evaluate_classifier(
    endpoint: Endpoint, rec: str, *, top_k: int = 5, resume: str | Path | None = None
) -> Accuracy:
    """The accuracy of an endpoint on a ``.rec`` with class labels; all else as in
    ``evaluate_endpoint``."""
    found = evaluate_any(endpoint, rec, top_k=top_k, resume=resume, kind="classification")
    assert isinstance(found, Accuracy)
    return found


def evaluate_any(
    endpoint: Endpoint,
    rec: str,
    *,
    overlap: float = 0.5,
    eleven_points: bool = False,
    top_k: int = 5,
    resume: str | Path | None = None,
    kind: Kind | None = None,
) -> Evaluation | Accuracy:
    """What the labels of the ``.rec`` ask for; SpecError where they are not of this ``kind``."""
    try:
        with recpack.RecordReader(
            rec, mapped=False, endpoint_url=endpoint.service.endpoint_url
        ) as records:
            manifest = _demand_classes(endpoint, rec, records.manifest())
            if kind not in (None, kind_of_labels(manifest)):
                other = "boxes" if kind == "classification" else "classes of whole images"
                raise SpecError(f"{rec}: its labels are {other}; choose the other evaluation")
            if kind_of_labels(manifest) == "classification":
                demand_labels("evaluate", rec, manifest)
            with nullcontext() if resume is None else open_file(resume, "a+b") as file:
                answers = _Answers(endpoint, file)
                try:
                    if kind_of_labels(manifest) == "detection":
                        return evaluate(
                            ((answers.boxes(one), truth_of(one.boxes)) for one in records),
                            endpoint.classes, overlap=overlap, eleven_points=eleven_points,
                        )  # fmt: skip
                    labelled = ((answers.scores(one), one.label.tolist()) for one in records)
                    if manifest.label_width > 1:
                        return accuracy_of_several(labelled, endpoint.classes)
                    return accuracy_of_one(labelled, endpoint.classes, top_k)
                except BaseException as error:
                    if resume is not None:
                        error.add_note(f"{resume} has the answers so far; the same command goes on")
                    raise
    except recpack.RecpackError as error:
        raise SpecError(f"{rec}: {error}") from error


def _demand_classes(
    endpoint: Endpoint, rec: str, manifest: recpack.Manifest | None
) -> recpack.Manifest:
    """The manifest beside a ``.rec``. Raises SpecError when its classes are others."""
    if manifest is None:
        raise SpecError(
            f"{rec}: it has no manifest to compare its classes with the endpoint's; recpack "
            "convert writes one beside it"
        )
    if manifest.classes != tuple(endpoint.classes):
        raise SpecError(
            f"classes: {rec} has {', '.join(manifest.classes)}; {endpoint.name} has "
            f"{', '.join(endpoint.classes)}; pack it with --classes and the manifest of the "
            "training"
        )
    return manifest


_OF_SCORE = 2
"""Numbers of a class and its score; a detection has more."""


class _Answers:
    """The endpoint's answers by their images' checksums. The file has a line of JSON each, after
    one that tells the model."""

    def __init__(self, endpoint: Endpoint, file: IO[bytes] | None) -> None:
        self._endpoint = endpoint
        self._file = file
        self._known: dict[str, Detections | Classification] = {}
        if file is None:
            return
        head = {"endpoint": endpoint.name, "configuration": endpoint.configuration()}
        file.seek(0)
        lines = file.read().split(b"\n")[:-1]
        try:
            rows = [json.loads(line) for line in lines]
            first = rows.pop(0) if rows else head
            self._known = dict(map(self._read, rows))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise SpecError(
                f"{file.name}: these are not answers of evaluate; choose another file"
            ) from error
        if first != head:
            raise SpecError(
                f"{file.name}: it has answers of {first}, not of {head}; choose another file"
            )
        file.truncate(sum(len(line) + 1 for line in lines))  # without what a kill cut off
        if not lines:
            self._add(head)

    def boxes(self, record: recpack.Record) -> Detections:
        """What the endpoint finds in a record's image. Raises SpecError where that are classes."""
        found = self._of(record)
        if not isinstance(found, Detections):
            raise SpecError(f"{self._endpoint.name}: it tells classes, and the labels are boxes")
        return found

    def scores(self, record: recpack.Record) -> Classification:
        """The endpoint's scores for a record's image. Raises SpecError where it tells boxes."""
        found = self._of(record)
        if not isinstance(found, Classification):
            raise SpecError(f"{self._endpoint.name}: it tells boxes, and the labels are classes")
        return found

    def _of(self, record: recpack.Record) -> Detections | Classification:
        image = bytes(record.image_bytes)
        digest = hashlib.sha256(image).hexdigest()[:32]
        if digest not in self._known:
            found = self._endpoint.answer(image)
            rows = (
                [[one.class_id, one.score, *one.box] for one in found.found]
                if isinstance(found, Detections)
                else [[one.class_id, one.score] for one in found.found]
            )
            self._known[digest] = found
            self._add([digest, found.width, found.height, rows])
        return self._known[digest]

    def _read(self, row: Any) -> tuple[str, Detections | Classification]:
        """The checksum and the answer of a line. Raises ValueError, TypeError for another one."""
        digest, width, height, rows = row
        names = self._endpoint.classes
        if rows and len(rows[0]) == _OF_SCORE:
            scores = [(int(id_), float(score)) for id_, score in rows]
            return str(digest), classification(scores, names, int(width), int(height))
        found = [
            Detection(
                int(id_), name_of(int(id_), names), float(score),
                (float(left), float(top), float(right), float(bottom)),
            )
            for id_, score, left, top, right, bottom in rows
        ]  # fmt: skip
        return str(digest), Detections(tuple(found), int(width), int(height))

    def _add(self, row: object) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()
