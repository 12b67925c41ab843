"""Problems of a data set as data: each has a stable code, a location and the action taken.

Codes never change their meaning; tools may match on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
Action = Literal[
    "error", "kept", "clipped", "swapped", "rescaled", "dropped box", "dropped image",
    "dropped class", "left out", "re-encoded",
]  # fmt: skip


class Code(NamedTuple):
    """What a problem's code means, what to do about it, and its severity unless a policy changes
    that."""

    what: str
    remedy: str
    severity: Severity = "error"


CATALOGUE: dict[str, Code] = {
    "annotation-missing": Code(
        "the annotation file is missing",
        "add it, remove its id from the list, or use --negatives keep (the image is background)",
    ),
    "annotation-unused": Code(
        "the annotation file has no image",
        "add the image, or remove the file",
        "warning",
    ),
    "annotation-unreadable": Code("the annotation can't be read", "fix the cause (see the value)"),
    "annotation-too-large": Code("the annotation file is too large to be real", "check the file"),
    "annotation-malformed": Code(
        "the annotation is not well-formed XML", "repair it or export it again"
    ),
    "annotation-dtd": Code("the annotation has a DTD or entities", "remove the <!DOCTYPE …> part"),
    "annotation-not-voc": Code("the root element is not <annotation>", "export it as Pascal VOC"),
    "json-malformed": Code(
        "the annotation is not JSON of this format", "repair it or export it again"
    ),
    "row-malformed": Code(
        "the row is not class, centre x, centre y, width, height",
        "write five numbers, or a class and the points of a polygon; rows with keypoints need "
        "kpt_shape in data.yaml",
    ),
    "keypoints-likely": Code(
        "the rows look like boxes with keypoints x, y, but they are read as polygons",
        "no action needed for polygons, or write kpt_shape into data.yaml (see the value)",
        "warning",
    ),
    "image-unlisted": Code(
        "the file does not list the object's image",
        "list the image, or remove the object",
    ),
    "number-bad": Code("the value is not a finite number", "write it as a plain decimal"),
    "box-missing": Code("the object has no bounding box", "draw its box or remove the object"),
    "box-from-polygon": Code(
        "the object has no box, so the bounds of its polygon or rotated box are used",
        "no action needed, or export with boxes",
        "note",
    ),
    "box-rotated": Code(
        "the box is rotated, and a label can't hold that",
        "write the bounds of the rotated box and remove the rotation, or leave the image out with "
        "--on-error skip",
    ),
    "box-ratios": Code(
        "all boxes of the image are between 0 and 1: ratios, not pixels",
        "multiply them by the image's width and height",
    ),
    "name-missing": Code("the object has no <name>", "name its class or remove the object"),
    "labels-missing": Code(
        "the image has no label file, so it is background",
        "no action needed, or add the file",
        "note",
    ),
    "object-nested": Code(
        "there are objects elsewhere than in an <object> directly below <annotation>",
        "write each one as <object> directly below <annotation>",
    ),
    "object-repeated": Code(
        "the image has an object with the same class and box",
        "remove one of the two objects",
        "warning",
    ),
    "flag-text": Code("the flag is text and counts as 0", "write 0 or 1", "warning"),
    "size-missing": Code(
        "no usable <size>, so the image's own size is used",
        "no action needed, or add <size>",
        "warning",
    ),
    "size-mismatch": Code(
        "<size> differs from the image's own size, which is used", "correct <size>", "warning"
    ),
    "size-rescale": Code(
        "the boxes fit <size>, but not the image",
        "if the image was scaled after annotation, and not cropped, use --size-mismatch rescale",
    ),
    "box-inverted": Code("the box is inverted", "check the annotation tool's export", "warning"),
    "box-outside": Code(
        "part of the box is outside the image",
        "correct it, or accept the clipped box",
        "warning",
    ),
    "box-off-image": Code("the whole box is outside the image", "correct or remove it", "warning"),
    "box-empty": Code("the box has no area", "correct or remove it", "warning"),
    "box-cropped-away": Code(
        "the box is outside the centre crop",
        "no action needed, or do not crop",
        "note",
    ),
    "box-pixels": Code(
        "the box edges look like pixels, not like ratios of the image's width and height",
        "divide them by the image's width and height, as recpack convert does for Pascal VOC",
    ),
    "label-scalar": Code(
        "the row has no boxes, but other rows have some",
        "write header width, object width and objects, or leave the row out",
        "warning",
    ),
    "class-unknown": Code(
        "the class is not one of the chosen classes",
        "name it with --classes (auto takes all), or use --unknown-class skip",
    ),
    "class-missing": Code("the object has no class", "give it a class or remove the object"),
    "class-undefined": Code(
        "the data set has no class with this id",
        "correct the id, or add the class where the data set lists its classes; where YOLO or "
        "SageMaker's JSON has no names, name all in the order of their ids with --classes",
    ),
    "class-placeholder": Code(
        "the category only groups the others, so it is no class",
        "no action needed, or name all classes with --classes",
        "note",
    ),
    "label-failed": Code(
        "Ground Truth failed to label the image",
        "label it again, or leave it out with --on-error skip",
    ),
    "class-count": Code(
        "nc is not the number of names",
        "correct nc or names, or name all classes in the order of their ids with --classes",
    ),
    "image-unclassified": Code(
        "the image has no class",
        "move it into the folder of its class or write its class into the table, or leave it out "
        "with --on-error skip",
    ),
    "class-absent": Code(
        "the image set has no image of this class, which another image set has",
        "no action needed, or add images",
        "note",
    ),
    "class-empty": Code(
        "the folder holds no image, so it is no class",
        "no action needed, or add images",
        "note",
    ),
    "table-row": Code(
        "the row of the table does not fit its headings",
        "correct the row; a value with a comma needs quotes around it",
    ),
    "column-unread": Code(
        "columns of the table are not read",
        "no action needed, or keep only the columns of the images and their labels",
        "note",
    ),
    "class-similar": Code(
        "several classes have the same name, but for case, white space or Unicode normalisation",
        "if they are one class, name all classes with --classes; a=A makes A an alias of a",
        "warning",
    ),
    "class-repeated": Code(
        "several class ids have the same name, so they become one class",
        "no action needed if they are one class, else give each its own name where the data set "
        "lists its classes",
        "warning",
    ),
    "difficult-dropped": Code(
        "the object is difficult", "no action needed, or use --difficult keep", "note"
    ),
    "no-objects": Code("no object is left", "no action needed, or use --negatives keep", "note"),
    "image-missing": Code("the image is missing", "add it, or remove its id from the list"),
    "image-unannotated": Code(
        "the image has no annotation file",
        "annotate it; for background, list all images in an image set and use --negatives keep",
        "warning",
    ),
    "image-ambiguous": Code("several images differ only in their extension", "keep one of them"),
    "image-unreadable": Code("the image can't be read", "fix the cause (see the value)"),
    "image-unsupported": Code(
        "this build of OpenCV can't read this kind of image",
        "upgrade opencv-python-headless, or convert the image to JPEG or PNG",
    ),
    "image-unknown": Code("the file is not an image of a known kind", "replace the file"),
    "image-changed": Code(
        "the image changed after it was checked", "run again when nothing writes into the data set"
    ),
    "image-truncated": Code("the image file is truncated", "replace the file"),
    "image-corrupt": Code("the image can't be decoded", "replace the file"),
    "image-too-large": Code("the image has too many pixels or bytes", "replace the file"),
    "image-converted": Code(
        "not every reader can read this kind of image",
        "no action needed, or convert it",
        "note",
    ),
    "image-unconverted": Code(
        "not every reader can read this image, and an augmented manifest can't convert it",
        "write a .rec or a folder of images, or leave it out with --on-error skip",
    ),
    "image-rotated": Code(
        "the image has an EXIF orientation",
        "no action needed, or rotate the pixels",
        "warning",
    ),
    "image-turned": Code(
        "the image is turned by 90° against its annotation, by their sizes or the boxes",
        "turn the pixels until the boxes fit, and remove the EXIF orientation; if the boxes fit as "
        "they are, correct <size>",
    ),
    "image-duplicate": Code(
        "another image has the same bytes",
        "no action needed, or keep one of them",
        "note",
    ),
    "image-repeated": Code(
        "the image or its id is listed more than once",
        "keep one entry with all its objects, or leave the image out with --on-error skip",
    ),
    "image-leaked": Code(
        "the same image is in two image sets",
        "remove it from one list: validation images must not be training images",
        "warning",
    ),
    "extension-wrong": Code("the extension does not match the content", "rename the file", "note"),
    "path-unsafe": Code(
        "the path is outside the data set's root",
        "remove it from the list; if it is a link, --follow-links reads it",
    ),
    "path-ambiguous": Code(
        "several images of the data set end like this path",
        "write its whole path below the data set, or name its folder with --images (not YOLO)",
    ),
    "path-resolved": Code(
        "the path is not there as written; the only image that ends like it is used",
        "no action needed, or write paths below the data set",
        "note",
    ),
    "filename-differs": Code(
        "<filename> is not the annotation's own name, whose image is used",
        "no action needed if the image was renamed, else correct <filename> or the file's name",
        "note",
    ),
    "set-missing": Code(
        "the folder or list of this image set is missing",
        "no action needed, or add it, or correct its path",
        "warning",
    ),
    "path-unlistable": Code(
        "a .lst line can't hold this path", "remove tabs and line breaks from the name"
    ),
    "path-white-space": Code(
        "MXNet's path_imglist splits this path",
        "rename the file if you use path_imglist",
        "warning",
    ),
    "record-label": Code(
        "the label is not a detection label",
        "for object detection pack with recpack convert or a list with detection labels; readers "
        "for classification take it as it is",
    ),
    "record-empty": Code(
        "the record holds a label and no image",
        "unpack the file, which leaves it out, and pack the list that unpack writes",
    ),
    "record-label-width": Code(
        "the label is longer than the manifest says",
        "the manifest belongs to another file: pack again",
    ),
    "record-no-box": Code("the record has no box with an area", "leave such images out"),
    "record-class": Code(
        "the manifest has no class with this id",
        "pack again and name all classes",
    ),
    "record-image": Code(
        "the image is not an 8-bit JPEG or PNG of 3 channels", "pack with --reencode"
    ),
    "record-image-kind": Code("the image is not a JPEG or PNG", "pack with --reencode"),
    "record-label-differs": Code(
        "the label has not as many numbers as that of record 0, and the reader takes one number "
        "for all",
        "pack images of one kind of label into one file",
    ),
    "face-table": Code(
        "the record is not what InsightFace's tables say",
        "convert the folders of the identities again with --from identities (recpack unpack makes "
        "them)",
    ),
    "face-identity": Code(
        "the label is not the number of an identity",
        "convert the folders of the identities again with --from identities (recpack unpack makes "
        "them)",
    ),
    "face-size": Code(
        "the image has not the size of the others",
        "bring all images to one size: --center-crop --resize 112",
    ),
    "record-magic": Code(
        "the record's header contains the magic word", "number the records from 0"
    ),
    "record-differs": Code("the record differs from its row or its image file", "pack again"),
    "record-surplus": Code(
        "the list has no row for this record",
        "use the list that the .rec was made from",
    ),
    "record-missing": Code("the .rec has no record for this row", "pack again"),
    "id-repeated": Code(
        "the id is listed more than once",
        "no action needed, or keep one entry",
        "warning",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a data set.

    ``file`` is relative to the data set's root; ``object`` is the object's number in the file,
    from 1, or 0 for a problem of the whole file; ``field`` and ``value`` are what was read;
    ``action`` is what was done.
    """

    code: str
    severity: Severity
    file: str
    action: Action
    object: int = 0
    field: str = ""
    value: str = ""

    def __str__(self) -> str:
        where = self.file + (f", object {self.object}" if self.object else "")
        what, remedy, _ = CATALOGUE[self.code]
        detail = f"{self.field} is {self.value!r}" if self.field else self.detail
        text = f"{where}: {what}" + (f" ({detail})" if detail else "")
        end = remedy if self.action == "error" else action_text(self.action)
        return f"{text}; {end} [{self.code}]"

    @property
    def detail(self) -> str:
        """The value beside the file, whose name some values begin with."""
        return self.value.removeprefix(f"{self.file}: ")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


_SHOWN_ACTIONS = {
    "error": ("error", "errors"),
    "dropped box": ("box dropped", "boxes dropped"),
    "dropped image": ("image dropped", "images dropped"),
    "dropped class": ("class dropped", "classes dropped"),
}


def action_text(action: str, count: int = 1) -> str:
    """An action as people read it, without its count: ``boxes dropped``."""
    one, many = _SHOWN_ACTIONS.get(action, (action, action))
    return one if count == 1 else many


def count_text(count: int, noun: str) -> str:
    """``1 object``, ``2,000 objects``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def count_by_action(problems: Iterable[Problem]) -> dict[str, dict[str, int]]:
    """``{"<action>": {"<code>": count}}``, sorted: what the manifest keeps of the problems."""
    counts = Counter((problem.action, problem.code) for problem in problems)
    table: dict[str, dict[str, int]] = {}
    for (action, code), count in sorted(counts.items()):
        table.setdefault(action, {})[code] = count
    return table
