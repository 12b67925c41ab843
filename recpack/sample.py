"""The interchange value of every reader and writer: samples, and the classes of their boxes."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recpack.errors import ConfigError
from recpack.texts import Texts, gather
from recpack.trees.base import Tree

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

_BLOCK = 2048
"""Samples looked at together, which bounds the memory that it takes."""

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The 20 classes of Pascal VOC in their customary order: the ids of every VOC model."""


@dataclass(frozen=True)
class ClassMap:
    """Class names in the order of their ids, 0 first, and the aliases that lead to them."""

    names: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = []
        known = set(self.names)
        if not self.names:
            wrong.append("no class is named")
        if len(known) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            wrong.append(f"classes named twice: {', '.join(twice)}")
        if any(not name or name != name.strip() for name in self.names):
            wrong.append("a class name is empty or begins or ends with white space")
        wrong += [f"alias {alias!r} is also a class" for alias in self.aliases if alias in known]
        if wrong:
            raise ConfigError("classes: " + "; ".join(wrong))

    @classmethod
    def parse(cls, entries: Iterable[str]) -> ClassMap:
        """Names, each optionally with aliases behind it: ``person=human=Person``."""
        names: list[str] = []
        aliases: dict[str, str] = {}
        for entry in entries:
            name, *others = (part.strip() for part in entry.split("="))
            names.append(name)
            for alias in others:
                if aliases.setdefault(alias, name) != name:
                    raise ConfigError(
                        f"classes: alias {alias!r} leads to {aliases[alias]!r} and to {name!r}"
                    )
        return cls(tuple(names), aliases)

    @classmethod
    def read(cls, path: Path) -> ClassMap:
        """One class a line (``name`` or ``name=alias=…``); blank lines and ``#`` lines are left
        out. A manifest (``.json``) serves too, so that a validation set gets its training set's
        ids."""
        try:
            text = path.read_text("utf-8-sig")
            if path.suffix == ".json":
                return cls(tuple(json.loads(text)["classes"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"classes: {path} can't be read: {error}") from error
        lines = [line.strip() for line in text.splitlines()]
        return cls.parse(line for line in lines if line and not line.startswith("#"))

    def ids(self) -> dict[str, int]:
        """Name or alias → id."""
        ids = {name: number for number, name in enumerate(self.names)}
        ids |= {alias: ids[name] for alias, name in self.aliases.items()}
        return ids


def class_map(spec: str | Sequence[str] | Mapping[str, int]) -> ClassMap | None:
    """``voc`` · ``auto`` (None: learnt from the data, sorted) · a file · ``a,b,c`` or a list of
    names · a mapping of names to ids 0..N-1."""
    if isinstance(spec, Mapping):
        if sorted(spec.values()) != list(range(len(spec))):
            raise ConfigError(f"classes: the ids must be 0..{len(spec) - 1}, each once")
        return ClassMap(tuple(sorted(spec, key=lambda name: spec[name])))
    if not isinstance(spec, str):
        return ClassMap.parse(spec)
    if spec == "voc":
        return ClassMap(VOC_CLASSES)
    if spec == "auto":
        return None
    path = Path(spec)
    if path.is_file():
        return ClassMap.read(path)
    if "/" in spec or path.suffix in (".txt", ".names", ".json"):
        raise ConfigError(f"classes: no such file: {spec}")
    return ClassMap.parse(spec.split(","))


class Treatment(enum.IntEnum):
    """What an image needs before every reader takes it."""

    KEEP = 0  #: nothing: its bytes pass through
    UPRIGHT = 1  #: decode with its EXIF orientation applied, encode
    AS_STORED = 2  #: decode without its EXIF orientation (the boxes describe it so), encode


@dataclass(slots=True, eq=False)
class Sample:
    """One image and its label.

    ``path`` is relative to the data set's root, with ``/``; ``label`` a float32 vector as in
    ``recordio.Record``; ``image_bytes`` the image file's size; ``treatment`` says what the image
    needs before every reader takes it.
    """

    index: int
    path: str
    label: Float32
    image_bytes: int
    treatment: Treatment


_TREATMENTS = tuple(Treatment)


@dataclass(frozen=True, eq=False)
class Samples:
    """Many samples as columns, a few dozen bytes each beside the path: what a scan gives, a list
    stores and a worker packs.

    ``indices`` int64 (n,) · ``paths`` · ``labels`` float32, all label vectors end to end ·
    ``bounds`` int64 (n + 1,), sample i's label is ``labels[bounds[i]:bounds[i + 1]]`` ·
    ``image_bytes`` int64 (n,) · ``treatments`` uint8 (n,), see ``Treatment``. Arrays are never
    written in place. A shuffled table keeps its columns as they are and has an ``order``, int64
    (n,), because a second copy would be the largest thing in memory; ``slice`` and iteration
    follow it.
    """

    root: Tree
    indices: Int64
    paths: Texts
    labels: Float32
    bounds: Int64
    image_bytes: Int64
    treatments: npt.NDArray[np.uint8]
    order: Int64 | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        for start in range(0, len(self), _BLOCK):
            block = self.slice(start, min(start + _BLOCK, len(self)))
            bounds = block.bounds.tolist()
            for i, (index, path, size, treatment) in enumerate(
                zip(
                    block.indices.tolist(),
                    block.paths,
                    block.image_bytes.tolist(),
                    block.treatments.tolist(),
                    strict=True,
                )
            ):
                label = block.labels[bounds[i] : bounds[i + 1]]
                yield Sample(index, path, label, size, _TREATMENTS[treatment])

    def shuffled(self, order: Int64) -> Samples:
        """The same samples in this order, numbered anew from 0."""
        return replace(self, order=order, indices=np.arange(len(order), dtype=np.int64))

    def label_widths(self) -> Int64:
        """Floats of each label vector in the order of the output, int64 (n,)."""
        widths = np.diff(self.bounds)
        return widths if self.order is None else widths[self.order]

    def file_sizes(self) -> Int64:
        """``image_bytes`` in the order of the output."""
        return self.image_bytes if self.order is None else self.image_bytes[self.order]

    def needs(self) -> npt.NDArray[np.uint8]:
        """``treatments`` in the order of the output."""
        return self.treatments if self.order is None else self.treatments[self.order]

    def slice(self, start: int, stop: int) -> Samples:
        """Samples ``start`` to ``stop`` of the output: small enough to send to a worker."""
        if self.order is not None:
            return self._rows(self.order[start:stop], self.indices[start:stop])
        first, last = self.bounds[start], self.bounds[stop]
        return Samples(
            self.root,
            self.indices[start:stop],
            self.paths[start:stop],
            self.labels[first:last],
            self.bounds[start : stop + 1] - first,
            self.image_bytes[start:stop],
            self.treatments[start:stop],
        )

    def take(self, chosen: Int64) -> Samples:
        """A copy of the samples at these positions of the output, numbered anew from 0."""
        rows = chosen if self.order is None else self.order[chosen]
        return self._rows(rows, np.arange(len(rows), dtype=np.int64))

    def alone(self) -> Samples:
        """The same samples, whose root knows their files and no others: for a worker."""
        return replace(self, root=self.root.only(self.paths))

    def _rows(self, rows: Int64, indices: Int64) -> Samples:
        labels, bounds = gather(self.labels, self.bounds, rows)
        return Samples(
            self.root,
            indices,
            self.paths.take(rows),
            labels,
            bounds,
            self.image_bytes[rows],
            self.treatments[rows],
        )
