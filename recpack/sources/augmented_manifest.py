"""SageMaker's augmented manifest: one line of JSON per image.

Source: AWS developer guide, ``augmented-manifest.html``; the output of Ground Truth's bounding box
jobs is one.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence

import msgspec

from recpack.data.annotation import Defect
from recpack.errors import ConfigError, DataError
from recpack.formats.sagemaker_json import Boxes
from recpack.sources.document import DocumentDataset, Entry, below
from recpack.sources.request import Request
from recpack.sources.sagemaker import ClassNames, annotation_of
from recpack.sources.selection import EVERY, Selection
from recpack.storage.decode import NOT_JSON, reason
from recpack.storage.limits import most_of_document
from recpack.storage.paths import read_bytes
from recpack.storage.s3.location import is_s3_url
from recpack.storage.trees.base import Tree

ENDINGS = (".manifest", ".jsonl")


class _Metadata(msgspec.Struct, rename="kebab"):
    class_map: dict[str, str] = {}
    failure_reason: str | None = None


_LINE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOXES = msgspec.json.Decoder(Boxes, strict=False)
_METADATA = msgspec.json.Decoder(_Metadata)
_TEXT = msgspec.json.Decoder(str)


def is_here(root: Tree, selection: Selection) -> bool:
    """Never: an augmented manifest is a file."""
    del root, selection
    return False


def open_file(path: str, request: Request) -> DocumentDataset:
    """Open a manifest by its path or ``s3://…``."""
    sets, images = request.selection.sets, request.selection.images
    if len(sets) > 1:
        raise ConfigError(
            "set: name one attribute only, the one of the manifest that holds the boxes"
        )
    try:
        data = read_bytes(path, request.s3, most_of_document())
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    label = None if sets == (EVERY,) else next(iter(sets), None)
    manifest = AugmentedManifest(path, data, label, request.class_names)
    on_s3 = [reference for reference in manifest.references if is_s3_url(reference)]
    if on_s3 and len(on_s3) < len(manifest.references):
        raise DataError(
            f"{path}: some images are on S3, others are not; split it into two manifests"
        )
    if len({reference.split("/")[2] for reference in on_s3}) > 1:
        raise DataError(f"{path}: its images are in several buckets; make one manifest per bucket")
    if images is not None:
        folder, prefix = os.fspath(images), _common_folder(manifest.references)
    elif on_s3:
        folder = prefix = _common_folder(on_s3)
    else:
        # paths in a manifest come from strangers: they must stay below the manifest's folder
        folder, prefix = posixpath.dirname(path) or ".", ""
    return manifest.dataset(request.open_tree(folder), prefix)


def _common_folder(references: Sequence[str]) -> str:
    """The deepest folder that holds all references, written as they are."""
    folders = [posixpath.dirname(reference) for reference in references]
    common = (
        posixpath.commonpath(folders) if len({folder[:1] == "/" for folder in folders}) == 1 else ""
    )
    return common.replace("s3:/", "s3://", 1)


class AugmentedManifest:
    """The lines of an augmented manifest. ``label`` is the attribute that holds the boxes; None
    means the only such attribute of the first line that Ground Truth did not fail to label. Raises
    DataError, and ConfigError when there are several. ``chosen`` are classes that the user
    names."""

    def __init__(
        self, name: str, data: bytes, label: str | None, chosen: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._names = ClassNames(name, chosen)
        self._lines = [
            (f"{name} line {number}", line)
            for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
            if line.strip()
        ]
        if not self._lines:
            raise DataError(f"{name}: the file is empty")
        self._label = label or _find_label(self._lines)
        self._parsed = [(file, *self._parse(line)) for file, line in self._lines]
        self._names.complete()
        self.references = [reference for _, reference, _, _ in self._parsed if reference]
        """The images: ``s3://…`` or paths."""

    def dataset(self, root: Tree, prefix: str) -> DocumentDataset:
        """The data set of the manifest. ``prefix`` of its references stands for ``root``."""
        entries = []
        for file, reference, boxes, defect in self._parsed:
            if boxes is None:
                entries.append(Entry(file, defect=defect))
            else:
                image = reference.removeprefix(prefix + "/") if prefix else reference
                if not is_s3_url(reference):  # there a key can hold //
                    image = below(".", image)
                entries.append(Entry(file, image, annotation_of(boxes, self._names)))
        file = posixpath.basename(self._name)
        problems = list(self._names.problems(file))
        return DocumentDataset(root, {file: entries}, self._names.in_order(), problems)

    def _parse(self, line: bytes) -> tuple[str, Boxes | None, Defect | None]:
        try:
            values = _LINE.decode(line)
            reference = _TEXT.decode(values["source-ref"])
            raw = values.get(f"{self._label}-metadata")
            metadata = _Metadata() if raw is None else _METADATA.decode(raw)
            if metadata.failure_reason is not None:
                defect = Defect(
                    "label-failed", 0, "failure-reason", metadata.failure_reason.strip()
                )
                return reference, None, defect
            boxes = _BOXES.decode(values[self._label])
            for id_, name in metadata.class_map.items():
                self._names.learn(int(id_), name)
        except KeyError as error:
            return "", None, Defect("json-malformed", 0, str(error.args[0]), "missing")
        except (*NOT_JSON, ValueError) as error:
            return "", None, Defect("json-malformed", 0, "", reason(error))
        return reference, boxes, None


def _find_label(lines: Sequence[tuple[str, bytes]]) -> str:
    """The attribute that holds boxes in the first line that was labelled."""
    for file, line in lines:
        try:
            values = _LINE.decode(line)
        except NOT_JSON as error:
            raise DataError(
                f"{file}: {reason(error)}; repair the line or export it again"
            ) from None
        found = [name for name, raw in values.items() if _holds_boxes(raw)]
        if len(found) > 1:
            raise ConfigError(f"{file}: boxes are in {', '.join(found)}; choose one with --set")
        if found and "source-ref" in values:
            return found[0]
        if not any(map(_failed, values.values())):
            names = ", ".join(values) or "none"
            raise DataError(
                f"{file}: no source-ref with boxes beside it; attributes: {names}. Give the output "
                "of a job for bounding boxes"
            )
    raise DataError(f"{lines[0][0]}: Ground Truth failed to label this image and all others")


def _failed(metadata: msgspec.Raw) -> bool:
    """Whether this is the metadata of a label that failed."""
    try:
        return _METADATA.decode(metadata).failure_reason is not None
    except NOT_JSON:
        return False


def _holds_boxes(raw: msgspec.Raw) -> bool:
    try:
        _BOXES.decode(raw)
    except NOT_JSON:
        return False
    return True
