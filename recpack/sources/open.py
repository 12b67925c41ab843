"""Which format a data set has, and what opens it.

Readers are imported when they are needed: most data sets are devkits.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from recpack.errors import ConfigError, DataError
from recpack.sources.base import Dataset
from recpack.sources.selection import Selection, SourceFormat
from recpack.sources.voc.dataset import VocDataset
from recpack.sources.voc.layout import open_devkit
from recpack.storage.paths import base_name, read_bytes, unsafe_path
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root, open_tree

if TYPE_CHECKING:
    from recpack.sources.document import Images

Value = TypeVar("Value")

_FILES: dict[str, SourceFormat] = {
    ".json": "coco",
    ".manifest": "augmented-manifest",
    ".jsonl": "augmented-manifest",
    ".yaml": "yolo",
    ".yml": "yolo",
}
"""Formats that a single file may stand for, by its ending."""


def open_dataset(
    path: Root,
    selection: Selection,
    s3: S3Client,
    *,
    class_names: Sequence[str] = (),
    every_set: bool = False,
) -> Dataset:
    """Open a data set of the format ``selection.source_format``, or of the one that it looks like.

    ``path`` is a folder or archives, or the file of a COCO data set, an augmented manifest or a
    YOLO folder's ``data.yaml``. ``selection.set`` chooses image sets; the default is the only one
    or that of training (of a devkit: ``trainval``), with ``every_set`` all. ``class_names`` are
    those asked for, for a YOLO folder that tells none. Raises DataError for what is not there or
    can't be read.
    """
    opening = _Opening(selection, s3, tuple(class_names), every_set)
    if not isinstance(path, (str, os.PathLike)) and len(path) == 1:
        path = path[0]
    try:
        if isinstance(path, (str, os.PathLike)):
            kind = _file_kind(path, selection)
            if kind is not None:
                _demand_devkit_options_unused(kind, selection)
                return opening.file(os.fspath(path), kind)
        root = open_tree(path, s3)
        kind = selection.source_format or _kind(root, selection)
        if kind != "voc":
            _demand_devkit_options_unused(kind, selection)
        return opening.folder(root, kind)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def _demand_devkit_options_unused(kind: str, selection: Selection) -> None:
    for name in ("year", "annotations"):
        if getattr(selection, name) is not None:
            raise ConfigError(f"{name}: only for a devkit, and this is {kind}")


def _file_kind(path: str | os.PathLike[str], selection: Selection) -> SourceFormat | None:
    kind = _FILES.get(posixpath.splitext(os.fspath(path))[1])
    if "augmented-manifest" in (selection.source_format, kind):
        return "augmented-manifest"
    return kind if kind and not os.path.isdir(path) else None


def _kind(root: Tree, selection: Selection) -> SourceFormat:
    if selection.annotations is not None or any(
        name in ("Annotations", "VOCdevkit") or re.match("VOC[0-9]", name)
        for name in root.folders(".")
    ):
        return "voc"
    if any(name.endswith(".xml") for name in root.files(".")):
        return "voc"
    from recpack.sources.coco import coco_files
    from recpack.sources.sagemaker import image_json_folders
    from recpack.sources.yolo.layout import yolo_layout

    if coco_files(root):
        return "coco"
    if yolo_layout(root) is not None:
        return "yolo"
    return "image-json" if image_json_folders(root) else "voc"


@dataclass(frozen=True)
class _Opening:
    """What is asked for, whatever the format."""

    selection: Selection
    s3: S3Client
    class_names: tuple[str, ...]
    every_set: bool

    def file(self, path: str, kind: SourceFormat) -> Dataset:
        """The data set of one file."""
        folder, name = posixpath.split(path)
        if kind == "augmented-manifest":
            return self._manifest(path)
        if not is_s3(path) and not os.path.isfile(path):
            raise DataError(f"{path}: no such file")
        root = open_tree(folder or ".", self.s3)
        if kind == "yolo":
            return self.folder(root, kind)
        if base_name(folder if is_s3(path) else os.path.abspath(folder)) == "annotations":
            above = posixpath.dirname(folder) if is_s3(path) else os.path.join(folder or ".", "..")
            root = open_tree(above, self.s3)
            name = f"annotations/{name}"
        from recpack.sources.coco import open_coco

        label = base_name(name).removesuffix(".json").removeprefix("instances_")
        return open_coco(root, {label: name}, self._images(root))

    def folder(self, root: Tree, kind: SourceFormat) -> Dataset:
        """The data set of a folder or archives."""
        if kind == "voc":
            return VocDataset(open_devkit(root, self.selection, every_set=self.every_set))
        if kind == "coco":
            from recpack.sources.coco import coco_files, open_coco

            return open_coco(root, self._chosen(root, kind, coco_files(root)), self._images(root))
        if kind == "yolo":
            return self._yolo(root)
        from recpack.sources.sagemaker import image_json_folders, open_image_json

        folders = self._chosen(root, kind, image_json_folders(root))
        return open_image_json(root, folders, self._images(root))

    def _yolo(self, root: Tree) -> Dataset:
        from recpack.sources.yolo.dataset import YoloDataset
        from recpack.sources.yolo.layout import yolo_layout

        if self.selection.images is not None:
            raise ConfigError("images: a YOLO folder's own layout says where its images are")
        layout = yolo_layout(root)
        sets = self._chosen(root, "yolo", layout.sets if layout else {})
        return YoloDataset(root, sets, (layout.names if layout else ()) or self.class_names)

    def _images(self, root: Tree) -> Images:
        """Where the images are, as far as ``--images`` says: below the root or, failing that, the
        working directory."""
        from recpack.sources.document import Images

        if self.selection.images is None:
            return Images(root)
        images = os.fspath(self.selection.images).rstrip("/")
        if not (unsafe_path(images) or is_s3(images)) and root.is_folder(images):
            return Images(root, images)
        return Images(open_tree(images, self.s3), ".")

    def _chosen(
        self, root: Tree, kind: SourceFormat, sets: Mapping[str, Value]
    ) -> dict[str, Value]:
        """The image sets asked for, or the one that goes without saying."""
        asked = list(self.selection.sets)
        there = ", ".join(sets)
        if not sets:
            raise DataError(f"{root}: there are no annotations of the format {kind}")
        missing = [name for name in asked if name not in sets]
        if missing:
            raise DataError(f"{root}: no image set {missing[0]}; choose with --set from: {there}")
        if not asked:
            training = [name for name in sets if name.startswith("train")]
            asked = list(sets) if self.every_set or len(sets) == 1 else training
            if len(asked) != 1 and not self.every_set:
                raise ConfigError(f"set: {root} has the image sets {there}; choose with --set")
        return {name: sets[name] for name in asked}

    def _manifest(self, path: str) -> Dataset:
        from recpack.sources.sagemaker import AugmentedManifest

        if len(self.selection.sets) > 1:
            raise ConfigError(
                "set: it names the one attribute of the manifest that holds the boxes"
            )
        try:
            data = read_bytes(path, self.s3)
        except OSError as error:
            raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
        manifest = AugmentedManifest(path, data, next(iter(self.selection.sets), None))
        distant = [reference for reference in manifest.references if is_s3(reference)]
        if distant and len(distant) < len(manifest.references):
            raise DataError(
                f"{path}: some images are on S3, others are not; make two manifests of it"
            )
        if len({reference.split("/")[2] for reference in distant}) > 1:
            raise DataError(f"{path}: its images are in several buckets; make a manifest of each")
        if self.selection.images is not None:
            folder, prefix = os.fspath(self.selection.images), _common_folder(manifest.references)
        elif distant:
            folder = prefix = _common_folder(distant)
        else:
            # a manifest's paths must not lead anywhere: they are below its own folder
            folder, prefix = posixpath.dirname(path) or ".", ""
        return manifest.dataset(open_tree(folder, self.s3), prefix)


def _common_folder(references: Sequence[str]) -> str:
    """The folder that all lie in, in the words of the references."""
    folders = [posixpath.dirname(reference) for reference in references]
    common = posixpath.commonpath(folders) if len({one[:1] == "/" for one in folders}) == 1 else ""
    return common.replace("s3:/", "s3://", 1)
