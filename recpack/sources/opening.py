"""Which format a data set has, and what opens it.

Readers are imported when they are needed: most data sets are devkits.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from recpack.config import Options
from recpack.errors import ConfigError, DataError
from recpack.lst import unsafe_path
from recpack.places import base_name, read_bytes
from recpack.s3.location import is_s3
from recpack.sources.dataset import Dataset
from recpack.sources.voc import VocDataset
from recpack.sources.voc_layout import open_devkit
from recpack.trees.base import Tree
from recpack.trees.opening import Root, open_tree

if TYPE_CHECKING:
    from recpack.sources.given import Images

Value = TypeVar("Value")

_FILES = {
    ".json": "coco",
    ".manifest": "augmented-manifest",
    ".jsonl": "augmented-manifest",
    ".yaml": "yolo",
    ".yml": "yolo",
}
"""Formats that a single file may stand for, by its ending."""


def open_dataset(path: Root, options: Options, *, every_set: bool = False) -> Dataset:
    """Open a data set of the format ``options.source_format``, or of the one that it looks like.

    ``path`` is a folder or archives, or the file of a COCO data set, an augmented manifest or a
    YOLO folder's ``data.yaml``. ``options.set`` chooses image sets; the default is the only one or
    that of training (of a devkit: ``trainval``), with ``every_set`` all. Raises DataError for what
    is not there or can't be read.
    """
    if not isinstance(path, (str, os.PathLike)) and len(path) == 1:
        path = path[0]
    try:
        if isinstance(path, (str, os.PathLike)) and (kind := _file_kind(path, options)) is not None:
            _demand_devkit_options_unused(kind, options)
            return _open_file(os.fspath(path), kind, options, every_set)
        root = open_tree(path, options.access)
        kind = options.source_format or _kind(root, options)
        if kind != "voc":
            _demand_devkit_options_unused(kind, options)
        return _open_folder(root, kind, options, every_set)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def _demand_devkit_options_unused(kind: str, options: Options) -> None:
    for name in ("year", "annotations"):
        if getattr(options, name) is not None:
            raise ConfigError(f"{name}: only for a devkit, and this is {kind}")


def _file_kind(path: str | os.PathLike[str], options: Options) -> str | None:
    kind = _FILES.get(posixpath.splitext(os.fspath(path))[1])
    if options.source_format == "augmented-manifest" or kind == "augmented-manifest":
        return "augmented-manifest"
    return kind if kind and not os.path.isdir(path) else None


def _kind(root: Tree, options: Options) -> str:
    if options.annotations is not None or any(
        name in ("Annotations", "VOCdevkit") or re.match("VOC[0-9]", name)
        for name in root.folders(".")
    ):
        return "voc"
    if any(name.endswith(".xml") for name in root.files(".")):
        return "voc"
    from recpack.sources.coco import coco_files
    from recpack.sources.sagemaker import image_json_folders
    from recpack.sources.yolo_layout import yolo_layout

    if coco_files(root):
        return "coco"
    if yolo_layout(root) is not None:
        return "yolo"
    return "image-json" if image_json_folders(root) else "voc"


def _open_file(path: str, kind: str, options: Options, every_set: bool) -> Dataset:
    folder, name = posixpath.split(path)
    if kind == "augmented-manifest":
        return _open_manifest(path, options)
    if not is_s3(path) and not os.path.isfile(path):
        raise DataError(f"{path}: no such file")
    root = open_tree(folder or ".", options.access)
    if kind == "yolo":
        return _open_folder(root, kind, options, every_set)
    if posixpath.basename(os.path.abspath(folder) if not is_s3(path) else folder) == "annotations":
        above = posixpath.dirname(folder) if is_s3(path) else os.path.join(folder or ".", "..")
        root = open_tree(above, options.access)
        name = f"annotations/{name}"
    from recpack.sources.coco import open_coco

    label = base_name(name).removesuffix(".json").removeprefix("instances_")
    return open_coco(root, {label: name}, _images(root, options))


def _open_folder(root: Tree, kind: str, options: Options, every_set: bool) -> Dataset:
    if kind == "voc":
        return VocDataset(open_devkit(root, options, every_set=every_set))
    if kind == "coco":
        from recpack.sources.coco import coco_files, open_coco

        files = _chosen(root, kind, coco_files(root), options, every_set)
        return open_coco(root, files, _images(root, options))
    if kind == "yolo":
        from recpack.sources.yolo import YoloDataset
        from recpack.sources.yolo_layout import yolo_layout

        if options.images is not None:
            raise ConfigError("images: a YOLO folder's own layout says where its images are")
        layout = yolo_layout(root)
        sets = _chosen(root, kind, layout.sets if layout else {}, options, every_set)
        asked = options.class_map.names if options.classes and options.class_map else ()
        return YoloDataset(root, sets, (layout.names if layout else ()) or asked)
    from recpack.sources.sagemaker import image_json_folders, open_image_json

    folders = _chosen(root, kind, image_json_folders(root), options, every_set)
    return open_image_json(root, folders, _images(root, options))


def _images(root: Tree, options: Options) -> Images:
    """Where the images are, as far as ``--images`` says: below the root or, failing that, the
    working directory."""
    from recpack.sources.given import Images

    if options.images is None:
        return Images(root)
    images = os.fspath(options.images).rstrip("/")
    if not (unsafe_path(images) or is_s3(images)) and root.is_folder(images):
        return Images(root, images)
    return Images(open_tree(images, options.access), ".")


def _chosen(
    root: Tree, kind: str, sets: Mapping[str, Value], options: Options, every_set: bool
) -> dict[str, Value]:
    """The image sets asked for, or the one that goes without saying."""
    asked = options.set.split(",") if isinstance(options.set, str) else list(options.set or ())
    there = ", ".join(sets)
    if not sets:
        raise DataError(f"{root}: there are no annotations of the format {kind}")
    missing = [name for name in asked if name not in sets]
    if missing:
        raise DataError(f"{root}: no image set {missing[0]}; choose with --set from: {there}")
    training = [name for name in sets if name.startswith("train")]
    if not asked:
        asked = list(sets) if every_set or len(sets) == 1 else training
    if len(asked) != 1 and not (every_set or options.set):
        raise ConfigError(f"set: {root} has the image sets {there}; choose with --set")
    return {name: sets[name] for name in asked}


def _open_manifest(path: str, options: Options) -> Dataset:
    from recpack.sources.sagemaker import AugmentedManifest

    if options.set is not None and not isinstance(options.set, str):
        raise ConfigError("set: it names the one attribute of the manifest that holds the boxes")
    try:
        data = read_bytes(path, options.access)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    manifest = AugmentedManifest(path, data, options.set)
    distant = [reference for reference in manifest.references if is_s3(reference)]
    if distant and len(distant) < len(manifest.references):
        raise DataError(f"{path}: some images are on S3, others are not; make two manifests of it")
    if len({reference.split("/")[2] for reference in distant}) > 1:
        raise DataError(f"{path}: its images are in several buckets; make a manifest of each")
    if options.images is not None:
        place, prefix = os.fspath(options.images), _common_folder(manifest.references)
    elif distant:
        place = prefix = _common_folder(distant)
    else:
        # paths of strangers must not lead anywhere: they are below the manifest's folder
        place, prefix = posixpath.dirname(path) or ".", ""
    return manifest.dataset(open_tree(place, options.access), prefix)


def _common_folder(references: Sequence[str]) -> str:
    """The folder that all lie in, in the words of the references."""
    folders = [posixpath.dirname(reference) for reference in references]
    common = posixpath.commonpath(folders) if len({one[:1] == "/" for one in folders}) == 1 else ""
    return common.replace("s3:/", "s3://", 1)
