"""Problems of a data set as data: each has a stable code, and says where, what and what was done.

Codes never change their meaning; tools may match on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
Action = Literal[
    "error", "kept", "clipped", "swapped", "rescaled", "dropped box", "dropped image", "re-encoded"
]


class Code(NamedTuple):
    """What a problem's code means, what to do about it, and how bad it is unless a policy says
    otherwise."""

    what: str
    remedy: str
    severity: Severity = "error"


CATALOGUE: dict[str, Code] = {
    "annotation-missing": Code(
        "the annotation file is missing",
        "add it, or take its id off the list",
    ),
    "annotation-unreadable": Code("the annotation can't be read", "see the value for the reason"),
    "annotation-too-large": Code(
        "the annotation is larger than any real one",
        "look into the file",
    ),
    "annotation-malformed": Code("the annotation is no well-formed XML", "mend or export it anew"),
    "annotation-dtd": Code("the annotation has a DTD or entities", "remove the <!DOCTYPE …> part"),
    "annotation-not-voc": Code("the root element is not <annotation>", "export as Pascal VOC"),
    "json-malformed": Code("the annotation is no JSON of this format", "mend or export it anew"),
    "row-malformed": Code(
        "the row is not class, centre x, centre y, width, height",
        "correct it: five numbers, or a class and the points of a polygon",
    ),
    "image-unlisted": Code(
        "the object belongs to no image of the file",
        "list the image, or remove the object",
    ),
    "number-bad": Code("not a finite number", "write pixels as plain decimals"),
    "box-missing": Code("the object has no <bndbox>", "draw its box or remove the object"),
    "name-missing": Code("the object has no <name>", "name its class or remove the object"),
    "flag-text": Code("the flag is text, taken as 0", "write 0 or 1", "warning"),
    "size-missing": Code(
        "no usable <size>, the image's own is taken",
        "nothing, or add <size>",
        "warning",
    ),
    "size-mismatch": Code(
        "<size> differs from the image, whose own is taken",
        "correct <size>",
        "warning",
    ),
    "size-rescale": Code(
        "the boxes fit <size>, but not the image",
        "the image was scaled after annotation: use --size-mismatch rescale if all of it was kept",
    ),
    "box-inverted": Code("the box is inverted", "check the annotation tool's export", "warning"),
    "box-outside": Code(
        "the box reaches out of the image",
        "correct it, or accept the clipped one",
        "warning",
    ),
    "box-off-image": Code(
        "the box lies wholly outside the image",
        "correct or remove it",
        "warning",
    ),
    "box-empty": Code("the box has no area", "correct or remove it", "warning"),
    "box-cropped-away": Code(
        "the box lies outside the centred square",
        "nothing, or do not crop",
        "note",
    ),
    "box-pixels": Code(
        "the box's edges are no ratios of the image's sides",
        "divide them by width and height, as recpack convert does",
    ),
    "label-scalar": Code(
        "the row has no boxes, as others of the list have",
        "write header width, object width and objects, or leave the row out",
        "warning",
    ),
    "class-unknown": Code(
        "the class is not among those chosen",
        "name it with --classes (auto takes all), or --unknown-class skip",
    ),
    "difficult-dropped": Code("the object is difficult", "nothing, or --difficult keep", "note"),
    "no-objects": Code("no object is left", "nothing, or --negatives keep", "note"),
    "image-missing": Code("the image is missing", "add it, or take its id off the list"),
    "image-ambiguous": Code("several images have this stem", "keep one of them"),
    "image-unreadable": Code("the image can't be read", "see the value for the reason"),
    "image-unsupported": Code(
        "this build of OpenCV can't read this kind of image",
        "upgrade opencv-python-headless, or convert the image to JPEG or PNG",
    ),
    "image-unknown": Code("not an image of a known kind", "replace the file"),
    "image-truncated": Code("the image is cut short", "replace the file"),
    "image-corrupt": Code("the image can't be decoded", "replace the file"),
    "image-too-large": Code("the image claims more pixels than can be", "replace the file"),
    "image-converted": Code(
        "not every reader takes this kind of image",
        "nothing, or convert it",
        "note",
    ),
    "image-unconverted": Code(
        "an augmented manifest leaves images as they are, and not every reader takes this one",
        "write a .rec or a folder of images, or leave it out with --on-error skip",
    ),
    "image-rotated": Code(
        "the image carries an EXIF orientation",
        "nothing, or rotate the pixels",
        "warning",
    ),
    "image-duplicate": Code(
        "the image has the bytes of another",
        "nothing, or keep one of them",
        "note",
    ),
    "image-leaked": Code(
        "the same image is in two image sets",
        "take it off one list: what is validated must not be trained on",
        "warning",
    ),
    "extension-wrong": Code("the name's extension is not the contents'", "rename it", "note"),
    "path-unsafe": Code(
        "the path leaves the data set's root",
        "take it off the list, or make the folder that it leads to the root",
    ),
    "path-unlistable": Code("a .lst line can't hold this path", "rename it: no tab, no line break"),
    "path-white-space": Code(
        "MXNet's path_imglist splits this path",
        "rename it if you use that",
        "warning",
    ),
    "record-label": Code(
        "the label is none of a detection record",
        "pack with recpack convert, or from a list of the detection template",
    ),
    "record-label-width": Code(
        "the label is longer than the manifest says",
        "the manifest is another file's: pack anew",
    ),
    "record-no-box": Code("the record has no box of any size", "leave such images out"),
    "record-class": Code(
        "the class id is none of the manifest's",
        "pack anew with all classes named",
    ),
    "record-image": Code("the image is no 3-channel JPEG or PNG of 8 bits", "pack with --reencode"),
    "record-magic": Code("the record's header holds the magic word", "number the records from 0"),
    "record-differs": Code("the record is not what its row and file are", "pack it anew"),
    "record-surplus": Code(
        "the list has no row for this record",
        "compare with the list it came from",
    ),
    "record-missing": Code("the file has no record for this row", "pack it anew"),
    "id-repeated": Code("the image set names the id twice", "remove one of the lines", "warning"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a data set.

    ``file`` is relative to the data set's root; ``object`` counts the file's objects from 1, 0
    when the problem is the file's; ``field`` and ``value`` are what was read; ``action`` is what
    was done.
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
        found = f"{self.field} is {self.value!r}" if self.field else self.value
        parts = f"{where}: {what}" + (f" ({found})" if found else "")
        done = f"; {self.action}" if self.action != "error" else f"; {remedy}"
        return f"{parts}{done} [{self.code}]"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def counted(problems: Iterable[Problem]) -> dict[str, dict[str, int]]:
    """``{"<action>": {"<code>": count}}``, sorted: what the manifest keeps of the problems."""
    counts = Counter((problem.action, problem.code) for problem in problems)
    table: dict[str, dict[str, int]] = {}
    for (action, code), count in sorted(counts.items()):
        table.setdefault(action, {})[code] = count
    return table


SHOWN = 20


def summary(
    problems: Sequence[Problem], classes: Sequence[str] = (), *, all_by: str = "--report FILE"
) -> str:
    """A few lines for a terminal: the first problems, how many there are of each code, and for
    unknown classes their counts and the nearest of the known ``classes``. ``all_by`` is the option
    that lists all."""
    lines = [str(problem) for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"… and {len(problems) - SHOWN:,} more; {all_by} lists all")
    counts = Counter(problem.code for problem in problems)
    lines.append(", ".join(f"{count:,} {code}" for code, count in counts.most_common()))
    for name, count, near in unknown_classes(problems, classes):
        hint = f"; did you mean {near!r}?" if near else ""
        lines.append(f"unknown class {name!r}: {count:,} objects{hint}")
    return "\n".join(lines)


def unknown_classes(
    problems: Iterable[Problem], classes: Sequence[str]
) -> list[tuple[str, int, str]]:
    """(name, objects, nearest known name or '') of each unknown class, the most frequent first."""
    import difflib  # only for messages

    names = Counter(problem.value for problem in problems if problem.code == "class-unknown")
    folded = {name.lower(): name for name in classes}
    found = []
    for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0])):
        near = difflib.get_close_matches(name.lower(), folded, 1)
        found.append((name, count, folded[near[0]] if near else ""))
    return found


def quarantine_lines(problems: Iterable[Problem]) -> list[str]:
    """The quarantine list: ``file TAB code TAB object TAB field TAB value`` for every error that
    cost an image."""
    return [
        "\t".join([
            problem.file, problem.code, str(problem.object), problem.field,
            " ".join(problem.value.split()),
        ]) + "\n"
        for problem in problems
        if problem.severity == "error" and problem.action == "dropped image"
    ]  # fmt: skip
