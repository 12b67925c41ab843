"""The manifest: a small JSON file about a data set. It is published last, so it proves success.

It holds what a training job needs (``num_samples``, ``classes``, ``label_width``), and the checksum
that identifies the ``.rec``. Nothing in it depends on the clock, the machine or the number of
workers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from recpack._version import __version__
from recpack.data.labels import label_shape
from recpack.data.samples import Samples
from recpack.display import brief
from recpack.errors import ConfigError, DataError
from recpack.markup import count_table, section, table
from recpack.problems import Problem, action_text, count_by_action
from recpack.storage.checksums import Checksum, parse_checksum
from recpack.storage.limits import MAX_MANIFEST
from recpack.storage.paths import PathOrUrl, base_name, read_bytes, read_companion
from recpack.storage.s3.client import S3Client
from recpack.storage.shards import set_name

FORMAT_VERSION = 1


@dataclass(frozen=True)
class _Entry:
    """An object of the JSON, whose fields can be subscribed as in it: ``manifest.rec["name"]``."""

    def __getitem__(self, name: str) -> Any:
        return asdict(self)[name]


@dataclass(frozen=True)
class RecFile(_Entry):
    """A ``.rec``'s name, bytes and checksum (see ``Checksum.text``); None when it is not packed.

    ``etag`` only when the ``.rec`` is in a store that keeps no checksum.
    """

    name: str | None
    bytes: int | None
    checksum: str | None
    etag: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: value for name, value in asdict(self).items() if (name, value) != _NO_ETAG}


_NO_ETAG = "etag", None

NOT_PACKED = RecFile(None, None, None)


@dataclass(frozen=True)
class Source(_Entry):
    """The data set: its ``format``, and the image ``sets`` and ``years`` that were read; empty for
    records that come from no data set."""

    format: str = ""
    sets: tuple[str, ...] = ()
    years: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        if not self.format:
            return {}
        return {"format": self.format, "sets": list(self.sets), "years": list(self.years)}


@dataclass(frozen=True, kw_only=True, repr=False)
class Manifest:
    """Version 1 of the manifest; field names are those of the JSON.

    ``rec``: see ``RecFile`` · ``classes`` in the order of their ids · ``label_width``: floats of
    the longest label vector · ``objects``: number of objects per class · ``problems``: counts by
    action, then by problem code · ``options``: those that shape the bytes · ``source``: see
    ``Source`` · ``list_checksum`` of the ``.lst`` text, None when there is no list · ``shards``:
    the files of a set of shards, in order; ``rec`` is then their sum, under the name of the set,
    and no such file exists.
    """

    rec: RecFile
    num_samples: int
    classes: tuple[str, ...]
    label_width: int
    header_width: int
    object_width: int
    objects: Mapping[str, int]
    problems: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Source = Source()
    list_checksum: str | None = None
    shards: tuple[RecFile, ...] = ()
    recpack_version: str
    format_version: int = FORMAT_VERSION

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        shards = tuple(shard.as_dict() for shard in self.shards)
        own = {"rec": self.rec.as_dict(), "source": self.source.as_dict(), "shards": shards}
        return asdict(self) | own

    def __repr__(self) -> str:
        return brief(self, **self.facts())

    def facts(self) -> dict[str, object]:
        """The numbers that matter most, for people."""
        shards = {"shards": len(self.shards)} if self.shards else {}
        return {
            "name": self.rec.name, "bytes": self.rec.bytes, **shards, "samples": self.num_samples,
            "objects": sum(self.objects.values()), "classes": len(self.classes),
        }  # fmt: skip

    def rows(self) -> list[tuple[str, str]]:
        """What is in it as a table, for people: names and values."""
        rows = [("samples", f"{self.num_samples:,}")]
        if self.rec.bytes is not None:
            rows.append(("bytes", f"{self.rec.bytes:,}"))
        if names := [str(shard.name) for shard in self.shards]:
            rows.append(("shards", f"{len(names):,}: {names[0]} to {names[-1]}"))
        present = {name: count for name, count in self.objects.items() if count}
        counts = ", ".join(f"{name} {count:,}" for name, count in list(present.items())[:20])
        rows += [
            ("classes", f"{len(self.classes)}"),
            (
                "objects" if self.header_width else "labels",
                f"{sum(present.values()):,} ({counts})" if present else "0",
            ),
            ("label width", f"{self.label_width}" + ", no boxes" * (not self.header_width)),
        ]
        for action, codes in self.problems.items():
            text = ", ".join(f"{count:,} {code}" for code, count in codes.items())
            rows.append((action_text(action, sum(codes.values())), text))
        return rows

    def _repr_html_(self) -> str:
        noun = "objects" if self.header_width else "images"
        counts = count_table(f"{noun} by class", self.objects)
        return section(self.rec.name or "Manifest", table(self.rows()), counts)

    def to_json(self) -> str:
        """The text of the file; bytes of a name that are not text become question marks."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        return text.encode("utf-8", "replace").decode()

    def with_etag(self, etag: str | None) -> Manifest:
        """The manifest with the ETag of the ``.rec`` added, if there is one."""
        return self if etag is None else replace(self, rec=replace(self.rec, etag=etag))

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """The text of the file → manifest. Raises ValueError when it is not a manifest, or one of
        another version."""
        from recpack.storage.decode import decode_json  # only readers need it

        try:
            version = decode_json(text, _Version).format_version
            found = decode_json(text, cls) if version == FORMAT_VERSION else None
        except ValueError as error:
            raise ValueError(
                f"this is not a manifest of recpack: {error}; pack again, or move it away"
            ) from None
        if found is None:
            raise ValueError(
                f"manifest version {version}; this recpack reads {FORMAT_VERSION}: install the "
                "recpack that wrote it, or pack again"
            )
        numbers = [found.num_samples, found.label_width, found.header_width, found.object_width]
        numbers += [found.rec.bytes or 0, *found.objects.values()]
        if min(numbers) < 0:
            raise ValueError(f"the manifest has a count of {min(numbers)}; pack again")
        for name in (shard.name for shard in found.shards):
            if not name or base_name(name) != name or not name.endswith(".rec"):
                raise ValueError(f"the manifest has a shard {name!r}, which is no name of a .rec")
        for file in (found.rec, *found.shards):
            if file.checksum is not None:
                parse_checksum(file.checksum)
        return found

    @classmethod
    def read(cls, path: PathOrUrl, s3: S3Client | None = None) -> Manifest:
        """Read a manifest by path or ``s3://…``. Raises DataError that names it."""
        try:
            return _read(path, s3 or S3Client())
        except FileNotFoundError as error:
            raise DataError(f"{path}: {error}") from error


@dataclass
class _Version:
    format_version: int


def _read(path: PathOrUrl, s3: S3Client) -> Manifest:
    try:
        return Manifest.from_json(read_bytes(path, s3, MAX_MANIFEST))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error


def manifest_beside(rec: PathOrUrl, s3: S3Client | None = None) -> Manifest | None:
    """The manifest beside a ``.rec``; of a shard of a set, that of the set, but ``rec`` and
    ``shards`` are this shard alone. None when there is neither."""
    s3 = s3 or S3Client()
    try:
        return read_companion(rec, ".json", s3, lambda path: _read(path, s3))
    except FileNotFoundError:
        name = set_name(rec)
    if name is None or (of_set := manifest_beside(name, s3)) is None:
        return None
    found = [one for one in of_set.shards if one.name == base_name(rec)]
    return replace(of_set, rec=found[0], shards=tuple(found)) if found else None


def shard_paths(rec: PathOrUrl, s3: S3Client | None = None) -> list[str]:
    """The ``.rec`` files of the set of shards that has the name ``rec``; none where its manifest
    names no shards, or there is none. Ask only when there is no file ``rec``."""
    if not os.fspath(rec).endswith(".rec"):  # x.idx and x.txt have the same manifest
        return []
    manifest = manifest_beside(rec, s3)
    folder = os.fspath(rec).removesuffix(base_name(rec))
    return [f"{folder}{shard.name}" for shard in manifest.shards] if manifest else []


def class_name(id_: float, manifest: Manifest | None) -> str:
    """The class's name in the manifest, else the number in the label."""
    if manifest is not None and 0 <= id_ < len(manifest.classes) and id_ == int(id_):
        return manifest.classes[int(id_)]
    return f"{id_:.9g}"


def describe(
    samples: Samples,
    classes: Sequence[str],
    problems: Iterable[Problem],
    shaping: Mapping[str, object],
    rec: RecFile,
    list_crc32: int | None = None,
    source: Source = Source(),
) -> Manifest:
    """The manifest of samples; ``shaping`` are the options that shape the bytes, ``source``
    is the field of the manifest. When ``classes``
    is empty, the names are the ids. Raises ConfigError when a label's class id has no name."""
    shape = label_shape(samples)
    highest = len(shape.objects) - 1
    names = tuple(classes) or tuple(str(id_) for id_ in range(highest + 1))
    if highest >= len(names):
        raise ConfigError(
            f"classes: {len(names)} names, but the list has class id {highest}; "
            "give one name for each id from 0"
        )
    counts = shape.objects.tolist() + [0] * (len(names) - len(shape.objects))
    return Manifest(
        rec=rec,
        num_samples=len(samples),
        classes=names,
        label_width=shape.label_width,
        header_width=shape.header_width,
        object_width=shape.object_width,
        objects=dict(zip(names, counts, strict=True)),
        problems=count_by_action(problems),
        options=shaping,
        source=source,
        list_checksum=None if list_crc32 is None else Checksum.CRC32.text(list_crc32),
        recpack_version=__version__,
    )
