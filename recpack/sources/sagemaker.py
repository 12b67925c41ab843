"""What SageMaker reads beside RecordIO: an augmented manifest (a line of JSON an image), and a
folder with a JSON file an image.

Source: AWS developer guide, ``augmented-manifest.html`` and ``object-detection.html``; the output
of Ground Truth's bounding box jobs is an augmented manifest. Boxes are left, top, width, height in
pixels.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import msgspec

from recpack.data.annotation import Annotation, Defect
from recpack.errors import ConfigError, DataError
from recpack.formats.sagemaker_json import JSON_FOLDER, Boxes, ImageFile, Size
from recpack.sources.document import NOT_JSON, DocumentDataset, Entry, Images, below, reason
from recpack.storage.explain import explain
from recpack.storage.trees.base import Tree


class Metadata(msgspec.Struct):
    class_map: dict[str, str] = msgspec.field(default_factory=dict, name="class-map")


_LINE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOXES = msgspec.json.Decoder(Boxes)
_METADATA = msgspec.json.Decoder(Metadata)
_FILE = msgspec.json.Decoder(ImageFile)
_TEXT = msgspec.json.Decoder(str)


class _Names:
    """Class names by id, as far as they were told; each id has one."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.by_id: dict[int, str] = {}

    def learn(self, id_: int, name: str) -> None:
        known = self.by_id.setdefault(id_, name.strip())
        if known != name.strip():
            raise DataError(f"{self._file}: class {id_} is {known!r} and {name!r}; make it one")

    def in_order(self) -> list[str]:
        return list(dict.fromkeys(self.by_id[id_] for id_ in sorted(self.by_id)))

    def name(self, id_: int) -> str:
        return self.by_id.get(id_) or f"class_id {id_}"


def open_image_json(root: Tree, folders: dict[str, str], images: Images) -> DocumentDataset:
    """Image sets of a data set with a JSON file an image. ``folders`` are those of the JSON files,
    by image set. Where ``images`` names no folder, it is that of the set's name, or the JSON files'
    own. Raises DataError when class ids have two names."""
    names = _Names(str(root))
    found = {}
    for name, place in folders.items():
        read = [_read_file(*one) for one in _contents(root, place)]
        for _, document, _ in read:
            for category in document.categories if document else ():
                names.learn(category.class_id, category.name)
        first = [document.file for _, document, _ in read if document][:3]
        folder = images.folder([name, place, "."], first, posixpath.join(str(root), place))
        found[name] = [
            Entry(file, defect=fault)
            if document is None
            else Entry(file, below(folder, document.file), _annotation(document, names))
            for file, document, fault in read
        ]
    return DocumentDataset(images.root, found, names.in_order())


def image_json_folders(root: Tree) -> dict[str, str]:
    """The JSON folders of a data set by image set: ``train_annotation`` beside ``train``, else the
    root itself where it has JSON files."""
    folders = root.folders(".")
    found = {
        name.removesuffix(JSON_FOLDER): name
        for name in folders
        if name.endswith(JSON_FOLDER) and name.removesuffix(JSON_FOLDER) in folders
    }
    if found or not any(name.endswith(".json") for name in root.files(".")):
        return found
    return {"all": "."}


def _contents(root: Tree, folder: str) -> Iterator[tuple[str, bytes | OSError]]:
    """Each JSON file of a folder."""
    names = [name for name in root.files(folder) if name.endswith(".json")]
    with root.folder(folder) as opened:
        for name, opener in zip(names, opened.in_order(names), strict=True):
            path = below(folder, name)
            assert opener is not None
            try:
                with opener() as file:
                    yield path, file.read(0, file.size)
            except OSError as error:
                yield path, error


def _read_file(path: str, data: bytes | OSError) -> tuple[str, ImageFile | None, Defect | None]:
    if isinstance(data, OSError):
        code, value = explain(data, "annotation")
        return path, None, Defect(code, 0, "", value)
    try:
        return path, _FILE.decode(data), None
    except NOT_JSON as error:
        return path, None, Defect("json-malformed", 0, "", reason(error))


def _annotation(boxes: Boxes, names: _Names) -> Annotation:
    size = boxes.image_size[0] if boxes.image_size else Size(0, 0)
    annotation = Annotation("", size.width, size.height, object_count=len(boxes.annotations))
    for number, box in enumerate(boxes.annotations, 1):
        annotation.names.append(names.name(box.class_id))
        annotation.boxes += (box.left, box.top, box.left + box.width, box.top + box.height)
        annotation.difficult.append(0)
        annotation.objects.append(number)
    return annotation


class AugmentedManifest:
    """The lines of an augmented manifest. ``label`` is the attribute that holds the boxes; without
    it, it is the only one that the first line has. Raises DataError, ConfigError for a choice of
    several."""

    def __init__(self, name: str, data: bytes, label: str | None) -> None:
        self._name = name
        self._names = _Names(name)
        self._lines = [
            (f"{name} line {number}", line)
            for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
            if line.strip()
        ]
        if not self._lines:
            raise DataError(f"{name}: it is empty")
        self._label = label or _label_of(*self._lines[0])
        self._read = [(file, *self._parsed(line)) for file, line in self._lines]
        self.references = [reference for _, reference, _, _ in self._read if reference]
        """Where the images are: ``s3://…`` or paths."""

    def dataset(self, root: Tree, prefix: str) -> DocumentDataset:
        """Its images are below a tree, where the references lie below a prefix."""
        entries = []
        for file, reference, boxes, fault in self._read:
            if boxes is None:
                entries.append(Entry(file, defect=fault))
            else:
                image = reference.removeprefix(prefix + "/") if prefix else reference
                entries.append(Entry(file, image, _annotation(boxes, self._names)))
        return DocumentDataset(
            root, {posixpath.basename(self._name): entries}, self._names.in_order()
        )

    def _parsed(self, line: bytes) -> tuple[str, Boxes | None, Defect | None]:
        try:
            values = _LINE.decode(line)
            reference = _TEXT.decode(values["source-ref"])
            boxes = _BOXES.decode(values[self._label])
            metadata = values.get(f"{self._label}-metadata")
            if metadata is not None:
                for id_, name in _METADATA.decode(metadata).class_map.items():
                    self._names.learn(int(id_), name)
        except KeyError as error:
            return "", None, Defect("json-malformed", 0, str(error.args[0]), "missing")
        except (*NOT_JSON, ValueError) as error:
            return "", None, Defect("json-malformed", 0, "", reason(error))
        return reference, boxes, None


def _label_of(file: str, line: bytes) -> str:
    """The attribute of a line that holds boxes."""
    try:
        values = _LINE.decode(line)
    except NOT_JSON as error:
        raise DataError(f"{file}: {reason(error)}; mend the line or export it anew") from None
    found = [name for name, raw in values.items() if _holds_boxes(raw)]
    if len(found) > 1:
        raise ConfigError(f"{file}: it has labels {', '.join(found)}; choose one with --set")
    if not found or "source-ref" not in values:
        there = ", ".join(values) or "nothing"
        raise DataError(f"{file}: no source-ref with boxes beside it; there is {there}")
    return found[0]


def _holds_boxes(raw: msgspec.Raw) -> bool:
    try:
        _BOXES.decode(raw)
    except NOT_JSON:
        return False
    return True
