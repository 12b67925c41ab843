"""Images with one JSON file each, as SageMaker reads them.

Source: AWS developer guide, ``object-detection.html``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from recpack.data.annotation import Defect
from recpack.formats.sagemaker_json import JSON_FOLDER, ImageFile
from recpack.sources.document import DocumentDataset, Entry, Images, below, without_mark
from recpack.sources.recognise import MOST_DOCUMENTS, is_image_json, kind_of, read_head
from recpack.sources.request import Request
from recpack.sources.sagemaker import ClassNames, annotation_of
from recpack.sources.selection import Selection
from recpack.storage.decode import NOT_JSON, reason
from recpack.storage.explain import explain
from recpack.storage.limits import MAX_ANNOTATION
from recpack.storage.trees.base import Tree

ENDINGS = ()

_FILE = msgspec.json.Decoder(ImageFile, strict=False)


def is_here(root: Tree, selection: Selection) -> bool:
    """Whether ``image_json_folders`` finds folders."""
    del selection
    return bool(image_json_folders(root))


def open_folder(root: Tree, request: Request) -> DocumentDataset:
    """Open the chosen image sets."""
    every = image_json_folders(root)
    folders = request.choose_sets(
        root, "image-json", every, lambda folder: len(_json_files(root, folder))
    )
    dataset = open_image_json(root, folders, request.images(root), request.class_names)
    dataset.parts = {*every, *every.values()}
    return dataset


def open_image_json(
    root: Tree, folders: dict[str, str], images: Images, chosen: Sequence[str] = ()
) -> DocumentDataset:
    """Open image sets with one JSON file per image. ``folders`` are those of the JSON files, by
    image set; ``chosen`` are classes that the user names. Where ``images`` has no chosen folder,
    the images are in the folder named like the set, or beside the JSON files. Raises DataError when
    a class id has two names."""
    names = ClassNames(str(root), chosen)
    found = {}
    files = {
        name: [_parse_file(*one) for one in _read_files(root, json_folder)]
        for name, json_folder in folders.items()
    }
    for _, document, _ in chain.from_iterable(files.values()):
        for category in document.categories if document else ():
            names.learn(category.class_id, category.name)
    names.complete()
    for name, json_folder in folders.items():
        parsed = files[name]
        first = [document.file for _, document, _ in parsed if document][:3]
        path = posixpath.join(str(root), json_folder)
        folder = images.find_folder([name, json_folder, "."], first, path)
        found[name] = [
            Entry(file, defect=defect)
            if document is None
            else Entry(file, below(folder, document.file), annotation_of(document, names))
            for file, document, defect in parsed
        ]
    return DocumentDataset(images.root, found, names.in_order(), list(names.problems(".")))


def image_json_folders(root: Tree) -> dict[str, str]:
    """The JSON folders of a data set, by image set: ``train_annotation`` beside ``train``, else the
    root itself when it holds JSON files that are of no other format."""
    folders = root.folders(".")
    found = {
        name.removesuffix(JSON_FOLDER): name
        for name in folders
        if name.endswith(JSON_FOLDER) and name.removesuffix(JSON_FOLDER) in folders
    }
    names = [] if found else [name for name in root.files(".") if name.endswith(".json")]
    heads = ((name, read_head(root, name)) for name in names[:MOST_DOCUMENTS])
    if any(is_image_json(head) and not kind_of(name, head) for name, head in heads):
        return {"all": "."}
    return found


def _json_files(root: Tree, folder: str) -> list[str]:
    return [name for name in root.files(folder) if name.endswith(".json")]


def _read_files(root: Tree, folder: str) -> Iterator[tuple[str, bytes | Exception]]:
    """The path and the bytes of each JSON file of a folder."""
    names = _json_files(root, folder)
    with root.folder(folder) as files:
        for name, data in zip(names, files.contents(names, MAX_ANNOTATION), strict=True):
            assert data is not None
            yield below(folder, name), data


def _parse_file(path: str, data: bytes | Exception) -> tuple[str, ImageFile | None, Defect | None]:
    if isinstance(data, Exception):
        code, value = explain(data, "annotation")
        return path, None, Defect(code, 0, "", value)
    try:
        return path, _FILE.decode(without_mark(data)), None
    except NOT_JSON as error:
        return path, None, Defect("json-malformed", 0, "", reason(error))
