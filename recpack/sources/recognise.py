"""Recognises formats by the head of a file, and names those that recpack does not read.

Only the first bytes of a few files are read: a JSON of COCO can have gigabytes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Sequence

from recpack.errors import DataError
from recpack.formats.image_header import IMAGE_ENDINGS
from recpack.sources.table import shows_labels
from recpack.storage.files import UnsafePathError
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree, is_hidden, join

ANNOTATIONS = "annotations"
MOST_DOCUMENTS = 16
"""More JSON files in one folder are one for each image."""
SET_FOLDER = re.compile("train|val|test", re.IGNORECASE)
"""How the name of a folder that is an image set begins."""
_CONTENTS = {"images", "jpegimages", "data", "masks"}
_IMAGES = {"img", "imgs", "image"}
_OF_IMAGES = {"mask", "label", "labels", "gt", "annotation", "annotations"}
_SETS = ("train", "val", "valid", "validation", "test", "training", "testing")
_HEAD = 64 << 10
_LABELME = re.compile(rb"<polygon>\s*<pt>")
_KITTI = re.compile(rb"[A-Z][A-Za-z_]+(?: -?[0-9.]+){14,15}\s*$", re.MULTILINE)
_DOTA = re.compile(rb"(?:\w+:[^\n]*\n)*(?:-?[0-9.]+ ){8}[A-Za-z][\w-]* [0-9]\s*$", re.MULTILINE)
_MOT = re.compile(rb"[0-9]+,-?[0-9]+(?:,-?[0-9.]+){4,8}\s*$", re.MULTILINE)
_CVAT = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|<[?!].*?>)*<annotations\b", re.DOTALL)
_FIFTYONE = re.compile(r"labels\..+\.bounding_box", re.DOTALL)
_TOKEN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"\s*(:?)|[{}\[\]]', re.DOTALL)

_DATUMARO = (
    "pip install 'datumaro[cli]', and run "
    "datum convert -i FOLDER -if {} -f coco -o OUTPUT -- --save-media"
)
_AGAIN = "export it again as COCO, YOLO or Pascal VOC"
_REMEDIES = {
    "LabelMe's JSON": "pip install labelme2coco, run labelme2coco FOLDER, and give "
    "runs/labelme2coco/dataset.json to recpack with --images .",
    "a project of VIA": "in VIA, choose Annotation > Export Annotations (COCO format)",
    "VoTT's JSON": "in VoTT, choose Pascal VOC in the export settings and export it again",
    "CreateML's JSON": _AGAIN,
    "Supervisely's JSON": _AGAIN,
    "FiftyOne's own format": "in FiftyOne, export it with "
    "dataset_type=fiftyone.types.COCODetectionDataset",
    "Detectron2's list": "write it with detectron2.data.datasets.convert_to_coco_json",
    "Labelbox's JSON": _AGAIN,
    "Scale's JSON": _AGAIN,
    "Encord's JSON": _AGAIN,
    "Hasty's JSON": _AGAIN,
    "V7's Darwin JSON": "pip install darwin-py, and run darwin convert coco FOLDER OUTPUT",
    "BDD100K's JSON": "run python -m bdd100k.label.to_coco -m det -i FILE -o coco.json",
    "LabelMe's XML": _DATUMARO.format("label_me"),
    "KITTI's labels": _DATUMARO.format("kitti"),
    "MOT's tracks": _DATUMARO.format("mot_seq"),
    "DOTA's labels": "they are rotated boxes; write the bounds of each as rows of YOLO",
    "Datumaro's JSON": _AGAIN,
    "Label Studio's JSON": "in Label Studio, choose Export > COCO, YOLO or Pascal VOC XML",
    "CVAT's XML": "in CVAT, choose Export task dataset > COCO 1.0, YOLO 1.1 or PASCAL VOC 1.1",
    "COCO's panoptic JSON": "it has no boxes of objects: use instances_*.json",
    "COCO's captions": "they are texts without boxes: use instances_*.json",
    "COCO's list of images": "it has no annotations: use instances_*.json",
    "COCO's results": "they are detections, without the images: use the file of the annotations",
    "a table (CSV)": _AGAIN,
    "a table (TSV)": _AGAIN,
    "a table (Parquet)": _AGAIN,
    "TFRecord": _AGAIN,
}
_COCO_PREFIXES = {
    "panoptic_": "COCO's panoptic JSON",
    "captions_": "COCO's captions",
    "image_info_": "COCO's list of images",
}
_ENDINGS = {
    ".csv": "a table (CSV)", ".tsv": "a table (TSV)", ".parquet": "a table (Parquet)",
    ".tfrecord": "TFRecord", ".tfrecords": "TFRecord",
}  # fmt: skip
ENDINGS_OF_OTHERS = (*_ENDINGS, ".ndjson", ".xml", ".txt")
_OWN_PATH = "it is {}: give its own path, not that of its folder"
_READ_OTHERWISE = {
    ".csv": _OWN_PATH.format("a table of images and labels"),
    ".tsv": _OWN_PATH.format("a table of images and labels"),
    ".manifest": _OWN_PATH.format("an augmented manifest"),
    ".json.gz": "it is compressed: run gunzip -k on it first",
}


def named(names: Sequence[str], *wanted: str) -> str | None:
    """The first of the lower-case names ``wanted`` that is there in any case, as it is written."""
    folded = {name.lower(): name for name in reversed(names)}
    return next((folded[name] for name in wanted if name in folded), None)


def read_head(root: Tree, path: str) -> bytes:
    """The first bytes of a file; none when it can't be read."""
    try:
        with root.folder(".") as folder, folder.open(path) as file:
            return file.read(0, min(file.size, _HEAD))
    except OSError:
        return b""


def holds(root: Tree, path: str) -> bool:
    """Whether a file is there, be it a link out of the data set. It is opened: on S3, ``is_file``
    lists its whole folder."""
    try:
        with root.folder(".") as folder:
            if not unsafe_path(path):
                folder.open(path).close()
                return True
    except UnsafePathError:
        return True  # who reads it says where it leads
    except OSError:
        pass
    return False


def kind_of(name: str, head: bytes) -> str:
    """What a file is by its name and its head: ``coco``, a key of the remedies, else empty."""
    name = posixpath.basename(name).lower()
    ending = posixpath.splitext(name)[1]
    if ending == ".xml":
        if b"<bndbox>" not in head and _LABELME.search(head):
            return "LabelMe's XML"
        return "CVAT's XML" if _CVAT.match(head) else ""
    if ending == ".txt" and _KITTI.match(head):
        return "KITTI's labels"
    if ending == ".txt" and _DOTA.match(head):
        return "DOTA's labels"
    if ending == ".txt" and _MOT.match(head):
        return "MOT's tracks"
    if ending == ".csv" and b"region_count" in head:
        return "a project of VIA"
    if ending in (".csv", ".tsv") and shows_labels(head):
        return ""
    if ending not in (".json", ".ndjson"):
        return _ENDINGS.get(ending, "") if head else ""
    keys = _keys(head)
    if {"annotations.bbox", "annotations.image_id"} <= keys:
        return "coco"
    found = next((kind for prefix, kind in _COCO_PREFIXES.items() if name.startswith(prefix)), "")
    return found or _kind_of_json(keys)


def is_image_json(head: bytes) -> bool:
    """Whether a file can be the JSON of one image, as SageMaker reads it."""
    keys = _keys(head)
    return not keys or bool(keys & {"file", "annotations.class_id"})


def _kind_of_json(keys: set[str]) -> str:
    last = {key.rpartition(".")[2] for key in keys}
    signs = {
        "LabelMe's JSON": "shapes.points" in keys or {"shapes", "imagePath"} <= keys,
        "a project of VIA": bool(last & {"shape_attributes", "file_attributes"})
        or any(key.startswith("_via_") for key in keys),
        "VoTT's JSON": {"asset", "regions"} <= keys or {"tags", "assets"} <= keys,
        "CreateML's JSON": "annotations.coordinates" in keys,
        "Supervisely's JSON": "classTitle" in last or {"classes.title", "classes.shape"} <= keys,
        "FiftyOne's own format": "_cls" in last
        or "sample_fields.ftype" in keys
        or ("classes" in keys and any(map(_FIFTYONE.fullmatch, keys))),
        "Detectron2's list": "annotations.bbox_mode" in keys,
        "Labelbox's JSON": bool(keys & {"data_row", "DataRow ID"}),
        "Scale's JSON": "task_id" in keys,
        "Encord's JSON": bool(last & {"label_hash", "data_hash"}),
        "Hasty's JSON": "images.labels.class_name" in keys,
        "V7's Darwin JSON": {"item", "annotations"} <= keys or "annotations.bounding_box" in keys,
        "BDD100K's JSON": "labels.box2d" in keys,
        "Datumaro's JSON": "categories.label" in keys,
        "Label Studio's JSON": "annotations.result" in keys
        or bool(last & {"rectanglelabels", "polygonlabels", "brushlabels", "completed_by"}),
        "COCO's panoptic JSON": "annotations.segments_info" in keys,
        "COCO's captions": "annotations.caption" in keys,
        "COCO's results": {"image_id", "category_id", "score"} <= keys,
        "coco": bool(keys & {"images.file_name", "annotations.image_id"})
        or {"images", "annotations", "categories"} <= keys,
    }
    return next((kind for kind, sign in signs.items() if sign), "")


def _keys(head: bytes) -> set[str]:
    """The keys of a JSON document's head with those around them: ``images``,
    ``images.file_name``. Lists add nothing."""
    found = set()
    around: list[str] = []
    key = ""
    for token in _TOKEN.finditer(head):
        mark = token[0][:1]
        if mark in b"{[":
            around.append(key)
        elif mark in b"}]":
            key = around.pop() if around else ""
        elif token[2]:
            name = token[1].decode("utf-8", "replace")
            key = f"{around[-1]}.{name}" if around and around[-1] else name
            found.add(key)
    return found


def holds_xml(root: Tree, folder: str) -> bool:
    """Whether a folder is there and has XML files of Pascal VOC."""
    try:
        names = root.some_files(folder)
    except FileNotFoundError:
        return False
    first = next((name for name in names if name.endswith(".xml") and name[0] != "."), None)
    return first is not None and not kind_of(first, read_head(root, join(folder, first)))


def coco_documents(root: Tree, folder: str) -> list[str]:
    """The names of a folder's COCO files, where it has only a few JSON files."""
    names = [name for name in root.some_files(folder) if name.endswith(".json")]
    if len(names) > MOST_DOCUMENTS:
        return []
    return [name for name in names if kind_of(name, read_head(root, join(folder, name))) == "coco"]


def refuse(root: Tree, path: str) -> None:
    """Raise DataError for a file of a format that recpack does not read."""
    kind = kind_of(path, read_head(root, path))
    if kind in _REMEDIES:
        file = join(str(root), path)
        raise DataError(f"{file} is {kind}, which recpack does not read; {_REMEDIES[kind]}")


def refuse_folder(root: Tree) -> None:
    """Raise DataError for a folder in a format that recpack does not read, if it is known."""
    folders = root.folders(".")
    names = {place: root.some_files(place) for place in (".", *folders[:MOST_DOCUMENTS])}
    for ending in (".json", *ENDINGS_OF_OTHERS, *_READ_OTHERWISE):
        for place, inside in names.items():
            first = next((name for name in inside if name.lower().endswith(ending)), None)
            if first is not None:
                refuse(root, join(place, first))
            if first is not None and ending in _READ_OTHERWISE:
                raise DataError(f"{join(str(root), join(place, first))}: {_READ_OTHERWISE[ending]}")
    rows = named(folders, ANNOTATIONS, "labels")
    if rows is not None and any(name.endswith(".txt") for name in names.get(rows, ())):
        raise DataError(
            f"{root}: {rows} holds *.txt, which are probably rows of YOLO; rename "
            + (f"{rows} to labels and " if rows != "labels" else "")
            + "the folder of the images to images, or put the images into a folder images"
        )


def class_root(root: Tree) -> str:
    """The folder with the folders of the classes or of the image sets: the root, or in an archive
    the only folder."""
    folders = _visible(root.folders("."))
    return folders[0] if root.wrapped and len(folders) == 1 else "."


def are_sets(names: Collection[str], has_folders: Callable[[str], bool]) -> bool:
    """Whether folders are image sets: by all of their names, or by two, of which one
    ``has_folders``. Other such names among others are those of classes, such as a train."""
    usual = [name for name in names if name.lower() in _SETS]
    if names and all(map(SET_FOLDER.match, names)):
        return True
    return len(usual) > 1 and any(map(has_folders, usual))


def _are_contents(names: Sequence[str]) -> bool:
    """Whether folders are named after what they hold, not after a class; ``img`` only beside what
    belongs to images."""
    folded = {name.casefold() for name in names}
    return bool(_CONTENTS & folded) or bool(_IMAGES & folded and _OF_IMAGES & folded)


def class_folders(root: Tree) -> list[str]:
    """The folders of a tree for image classification, where they hold nothing else than images; of
    image sets, those of one set. Only the first ones are looked at."""
    place = class_root(root)
    folders = _visible(root.folders(place))
    if _are_contents(folders):
        return []
    sets = are_sets(folders, lambda name: bool(_visible(root.folders(join(place, name)))))
    places = [join(place, name) for name in folders] if sets else [place]
    found = (_folders_of_images(root, one) for one in places[:MOST_DOCUMENTS])
    return next((some for some in found if len(some) > 1), [])


def _folders_of_images(root: Tree, place: str) -> list[str]:
    """The folders in ``place`` and in those; none where one holds other files than images."""
    found: list[str] = []
    folders = _visible(root.folders(place))
    if _are_contents(folders):
        return []
    for folder in (join(place, name) for name in folders[:MOST_DOCUMENTS]):
        inner = _visible(root.folders(folder))
        for path in [folder, *(join(folder, name) for name in inner)][:MOST_DOCUMENTS]:
            names = set(_visible(root.some_files(path))) - set(inner if path == folder else ())
            if not all(name.lower().endswith(IMAGE_ENDINGS) for name in names):
                return []
            found += [path] if names else []
    return found


def _visible(names: Sequence[str]) -> list[str]:
    return [name for name in names if not is_hidden(name)]


def only_images(names: Sequence[str]) -> bool:
    return bool(names) and all(name.lower().endswith(IMAGE_ENDINGS) for name in names)
