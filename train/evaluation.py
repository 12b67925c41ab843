"""Measure an endpoint on a ``.rec``; what it has answered so far is kept in a file."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import recpack

from .detections import Detection, Detections, Evaluation, evaluate, name_of, truth_of
from .endpoint import Endpoint
from .errors import SpecError
from .files import open_file


def evaluate_endpoint(
    endpoint: Endpoint,
    rec: str,
    *,
    overlap: float = 0.5,
    eleven_points: bool = False,
    resume: str | Path | None = None,
) -> Evaluation:
    """VOC's mean average precision of an endpoint on a ``.rec``, by path or ``s3://…``.

    Every answer is added to the file ``resume``; an image whose answer is there already is not sent
    again, so a run that failed goes on where it ended. Raises SpecError when the ``.rec`` has other
    classes than the endpoint, or the file has answers of another model.
    """
    try:
        with recpack.RecordReader(
            rec, mapped=False, endpoint_url=endpoint.service.endpoint_url
        ) as records:
            _demand_classes(endpoint, rec, records.manifest())
            with nullcontext() if resume is None else open_file(resume, "a+b") as file:
                answers = _Answers(endpoint, file)
                pairs = (
                    (answers.of(bytes(one.image_bytes)), truth_of(one.boxes)) for one in records
                )
                try:
                    return evaluate(
                        pairs, endpoint.classes, overlap=overlap, eleven_points=eleven_points
                    )
                except BaseException as error:
                    if resume is not None:
                        error.add_note(f"{resume} has the answers so far; the same command goes on")
                    raise
    except recpack.RecpackError as error:
        raise SpecError(f"{rec}: {error}") from error


def _demand_classes(endpoint: Endpoint, rec: str, manifest: recpack.Manifest | None) -> None:
    """Raise SpecError when a ``.rec`` has other classes, by the manifest beside it."""
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


class _Answers:
    """The endpoint's answers by their images' checksums. The file has a line of JSON each, after
    one that tells the model."""

    def __init__(self, endpoint: Endpoint, file: IO[bytes] | None) -> None:
        self._endpoint = endpoint
        self._file = file
        self._known: dict[str, Detections] = {}
        if file is None:
            return
        head = {"endpoint": endpoint.name, "configuration": endpoint.configuration()}
        file.seek(0)
        lines = file.read().split(b"\n")[:-1]
        try:
            rows = [json.loads(line) for line in lines]
            first = rows.pop(0) if rows else head
            self._known = dict(map(self._detections, rows))
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

    def of(self, image: bytes) -> Detections:
        """What the endpoint finds in an image."""
        digest = hashlib.sha256(image).hexdigest()[:32]
        if digest not in self._known:
            found = self._endpoint.predict(image)
            rows = [[one.class_id, one.score, *one.box] for one in found.found]
            self._known[digest] = found
            self._add([digest, found.width, found.height, rows])
        return self._known[digest]

    def _detections(self, row: Any) -> tuple[str, Detections]:
        """The checksum and the answer of a line. Raises ValueError, TypeError for another one."""
        digest, width, height, rows = row
        names = self._endpoint.classes
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
