"""Class names and their ids (pure). Without NumPy, because the command line's help needs this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recpack.arguments import demand
from recpack.errors import ConfigError, DataError
from recpack.storage.kinds import what_is
from recpack.storage.limits import MAX_MANIFEST
from recpack.storage.regular import read_regular

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""The 20 classes of Pascal VOC in their usual order: the ids of every VOC model."""


@dataclass
class _Names:
    classes: list[str]


@dataclass(frozen=True)
class ClassMap:
    """Class names in the order of their ids, from 0, and aliases for them."""

    names: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        demand("names", self.names, Sequence[str])
        wrong = []
        known = set(self.names)
        if not self.names:
            wrong.append("give at least one name")
        if len(known) < len(self.names):
            twice = sorted(name for name, count in Counter(self.names).items() if count > 1)
            wrong.append(f"classes named twice: {', '.join(twice)}; name each once")
        if any(not name or name != name.strip() for name in self.names):
            wrong.append("a class name is empty or begins or ends with white space")
        wrong += [f"alias {alias!r} is also a class" for alias in self.aliases if alias in known]
        if wrong:
            raise ConfigError("classes: " + "; ".join(wrong))

    @classmethod
    def parse(cls, entries: str | Iterable[str]) -> ClassMap:
        """Parse names, or ``a,b,c``, each with optional aliases: ``person=human=Person``."""
        names: list[str] = []
        aliases: dict[str, str] = {}
        for entry in entries.split(",") if isinstance(entries, str) else entries:
            name, *others = (part.strip() for part in entry.split("="))
            names.append(name)
            for alias in others:
                if aliases.setdefault(alias, name) != name:
                    raise ConfigError(
                        f"classes: alias {alias!r} stands for {aliases[alias]!r} and for {name!r}"
                    )
        return cls(tuple(names), aliases)

    @classmethod
    def read(cls, path: Path) -> ClassMap:
        """Read a file with one class per line (``name`` or ``name=alias=…``), without blank lines
        and ``#`` lines. A manifest (``.json``) works too, so that a validation set gets the ids of
        its training set. Raises DataError for a file that can't be read."""
        try:
            text = read_regular(path, MAX_MANIFEST).decode("utf-8-sig")
            if path.suffix == ".json":
                from recpack.storage.decode import decode_json  # most are not read from a manifest

                return cls(tuple(decode_json(text, _Names).classes))
        except UnicodeDecodeError as error:
            kind = what_is(error.object) or "no text"
            raise DataError(f"classes: {path}: it is {kind}; name a list of classes") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"classes: {path} can't be read: {reason}") from error
        lines = [line.strip() for line in text.splitlines()]
        return cls.parse(line for line in lines if line and not line.startswith("#"))

    def ids(self) -> dict[str, int]:
        """Name or alias → id."""
        ids = {name: number for number, name in enumerate(self.names)}
        ids |= {alias: ids[name] for alias, name in self.aliases.items()}
        return ids


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in case, white space or Unicode normalisation."""
    from unicodedata import normalize

    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(normalize("NFC", "".join(name.split()).casefold()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def class_map(spec: str | Sequence[str] | Mapping[str, int]) -> ClassMap | None:
    """``voc`` · ``auto`` (returns None: the data's names, sorted) · a file · ``a,b,c`` or a list of
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
    is_name = "/" in spec or path.suffix in (".txt", ".names", ".json")
    if is_name or path.is_file() or path.is_fifo():  # which is refused by its name
        return ClassMap.read(path)
    return ClassMap.parse(spec)
