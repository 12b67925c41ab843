"""What each reader would do with a ``.rec``, as far as it shows while ``verify`` reads the file.

Each record leaves its label and its ids; the rules that need no more than these are held against
many at once. Rules that look at the images, or at InsightFace's tables, run with ``reader`` only.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from recpack.columns import Float32, Int64
from recpack.data.labels import LEAST_LABEL, MAX_CLASSES, MAX_RATIO, is_detection, object_positions
from recpack.formats.manifest import Manifest
from recpack.formats.record import FLOAT, MAGIC, RECORD_HEADER, Record
from recpack.problems import count_text
from recpack.records.reader_rules import RULES
from recpack.records.settings import Reader

_OWN = "recpack.torch"
"""recpack's own data sets for PyTorch read whatever is sound."""
_SEEN = {
    "index", "detection labels", "ratios", "areas", "classes", "headers", "label width",
    "class ids",
}  # fmt: skip
"""Rules that are held in full here."""

_BLOCK = 4096
"""Records whose facts are gathered at once."""
_ORDER = ("reads", "reads, but", "refuses")

Faults = Mapping[str, tuple[int, int]]
"""The rules that records break: how many do, and the number of the first one."""


@dataclass(frozen=True)
class Verdict:
    """What a ``reader`` does with the file: ``reads`` it; ``reads, but`` some of its rules were not
    held against the file (``unchecked``); ``refuses`` it, or learns nonsense from it, because of
    ``why``."""

    reader: str
    verdict: Literal["reads", "reads, but", "refuses"]
    why: str = ""
    unchecked: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.verdict == "refuses":
            return f"refuses: {self.why}"
        if not self.unchecked:
            return "reads it"
        rules = ", ".join(self.unchecked)
        return f"reads it, but not checked: {rules} (--reader {self.reader})"


@dataclass
class Facts:
    """What the records show. ``faults``: see ``Faults`` · ``width``: floats of the first label,
    ``None`` without a record."""

    faults: Faults = field(default_factory=dict)
    width: int | None = None

    def __add__(self, other: Facts) -> Facts:
        """The facts of records, and of those behind them."""
        faults = dict(self.faults)
        for rule, (count, first) in other.faults.items():
            before, at = faults.get(rule, (0, first))
            faults[rule] = before + count, at
        if None not in (self.width, other.width) and self.width != other.width:
            faults.setdefault("label width", (1, 0))
        return Facts(faults, self.width if self.width is not None else other.width)

    @classmethod
    def sum(cls, parts: Iterable[Facts]) -> Facts:
        return reduce(operator.add, parts, cls())


Rows = npt.NDArray[np.bool_]


class Seen:
    """What records leave until their facts are gathered, some thousand at once."""

    def __init__(self, first: int, manifest: Manifest | None) -> None:
        """``first``: the number of the first record."""
        self.facts = Facts()
        self._next, self._manifest = first, manifest
        self._clear()

    def _clear(self) -> None:
        self._labels, self._headers = bytearray(), bytearray()
        self._lengths, self._images = array("q"), bytearray()

    def add(self, record: Record) -> None:
        label = record.stored_label
        self._labels += label
        self._lengths.append(len(label) >> 2)
        self._headers += RECORD_HEADER.pack(record.flag, 0, record.id, record.id2)
        self._images.append(record.is_image)
        if len(self._lengths) == _BLOCK:
            self.gather()

    def gather(self) -> None:
        """Add what was seen to ``facts``."""
        if not self._lengths:
            return
        lengths = np.array(self._lengths)
        images = np.frombuffer(self._images, np.bool_)
        words = np.frombuffer(self._headers, "<u4").reshape(len(lengths), -1)
        labels = np.frombuffer(self._labels, FLOAT)
        broken = _broken(labels, lengths, words, images, self._manifest)
        # a first record with a flag is InsightFace's meta record, and no image
        broken["tables"] = np.arange(self._next, self._next + len(lengths)) == 0
        broken["tables"] &= images & (words[:, 0] > 0)
        faults = {
            rule: (int(rows.sum()), self._next + int(np.argmax(rows)))
            for rule, rows in broken.items()
            if rows.any()
        }
        self.facts += Facts(faults, int(lengths[0]))
        self._next += len(lengths)
        self._clear()


def _broken(
    labels: Float32,
    lengths: Int64,
    words: npt.NDArray[np.uint32],
    images: Rows,
    manifest: Manifest | None,
) -> dict[str, Rows]:
    """Which records break each rule, bool (n,). ``words``: the headers of the payload, uint32
    (n, 6), without a scalar label."""
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    first = labels[bounds[:-1]]
    width, known = int(lengths[0]), MAX_CLASSES
    detection = is_detection(labels, bounds) & (lengths >= LEAST_LABEL) & images
    if manifest is not None:
        width, known = manifest.label_width, len(manifest.classes)
    positions, _, owners = object_positions(labels, bounds, detection)
    with np.errstate(invalid="ignore"):
        real = labels[positions] >= 0
        positions, owners = positions[real], owners[real]
        ids, edges = labels[positions], labels[positions[:, None] + np.arange(1, 5)]
        far = ~(np.abs(edges) <= MAX_RATIO).all(1)
        wide = (edges[:, 2] > edges[:, 0]) & (edges[:, 3] > edges[:, 1])
        unknown = (ids != np.floor(ids)) | ((ids >= known) & (manifest is not None))
        whole = (first >= 0) & (first == np.floor(first))
    one = lengths == 1
    scalars = np.where(words[:, 0] == 0, first, np.float32(0)).view(np.uint32)
    return {
        "detection labels": ~detection | ((lengths > width) & (manifest is not None)),
        "ratios": _rows(owners[far], len(lengths)),
        "areas": detection & ~_rows(owners[wide], len(lengths)),
        "classes": _rows(owners[unknown], len(lengths)),
        "headers": (words == MAGIC).any(1) | (scalars == MAGIC),
        "label width": images & (lengths != width),
        "class ids": images & one & ~(whole & (first < known)),
        "identities": images & ~whole,
        "images": ~images,
    }


def _rows(owners: Int64, count: int) -> Rows:
    found = np.zeros(count, np.bool_)
    found[owners] = True
    return found


def verdicts(facts: Facts, *, indexed: bool, reader: Reader | None) -> tuple[Verdict, ...]:
    """What each reader does with the file, whose records left these ``facts``. ``reader``: the one
    whose rules were held in full, and none broken; ``indexed``: whether the index is that of the
    file."""
    faults = dict(facts.faults)
    if not indexed:
        faults["index"] = 0, 0
    return (*(_verdict(one, faults, reader) for one in RULES), Verdict(_OWN, "reads"))


def _verdict(name: Reader, faults: Faults, reader: Reader | None) -> Verdict:
    if name == reader:
        return Verdict(name, "reads")
    for rule in RULES[name]:
        if (name, rule) == ("insightface", "images"):
            continue  # its tables have none
        count, first = faults.get(rule, (-1, 0))
        if count > 0:
            why = f"{rule} ({count_text(count, 'record')}, the first is record {first})"
            return Verdict(name, "refuses", why)
        if count == 0:
            return Verdict(name, "refuses", f"it has no {rule} of its records beside it")
    unchecked = tuple(rule for rule in RULES[name] if rule not in _SEEN)
    return Verdict(name, "reads, but" if unchecked else "reads", "", unchecked)


def worst(shards: Mapping[str, tuple[Verdict, ...]]) -> tuple[Verdict, ...]:
    """The verdicts on a set of shards: the worst on each, by the names of the shards."""
    named = (
        tuple(replace(one, why=one.why and f"{name}: {one.why}") for one in verdicts)
        for name, verdicts in shards.items()
    )
    return tuple(
        max(column, key=lambda one: _ORDER.index(one.verdict))
        for column in zip(*named, strict=True)
    )
