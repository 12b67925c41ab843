"""The promise: whatever happened, an output is the old one whole, or the new one whole, or nothing
looks finished; and the next run succeeds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import recpack
from recpack.errors import RecpackError
from recpack.formats.insightface import Property, property_beside
from recpack.formats.manifest import Manifest, manifest_beside
from recpack.records.reader import RecordReader
from recpack.storage.s3.client import S3Client
from tests.faults.local_commands import Command

NOTHING, OLD, NEW, HALF = "nothing", "old", "new", "just published"
BROKEN = "neither the old output nor the new one"
_COMPANIONS = (".idx", ".lst", ".quarantine.tsv", ".json")

Files = Mapping[str, bytes]
"""Path below a folder → content; of a folder that is empty, the path ends in ``/``."""


def files_of(folder: Path) -> dict[str, bytes]:
    found = {}
    for top, folders, names in os.walk(folder):
        below = os.path.relpath(top, folder)
        for name in names:
            path = os.path.normpath(os.path.join(below, name))
            found[path] = Path(folder, path).read_bytes()
        if not folders and not names and below != ".":
            found[below + "/"] = b""
    return found


def write_files(folder: Path, files: Files) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(data)


@dataclass(frozen=True)
class Records:
    """What readers see of a ``.rec``."""

    manifest: Manifest | None
    index: list[tuple[int, int]] | None
    records: dict[int, bytes]
    property: Property | None

    @classmethod
    def of(cls, path: Path) -> Records:
        recpack.verify(path, jobs=1)
        with RecordReader(path) as reader:
            index = reader.index()
            pairs = None if index is None else list(zip(*(x.tolist() for x in index), strict=True))
            records = {
                key: bytes(reader.read_key(key).image_bytes) + reader.read_key(key).label.tobytes()
                for key in reader.keys.tolist()
            }
        stated = property_beside(path, S3Client())
        return cls(manifest_beside(path, S3Client()), pairs, records, stated)


class Promise:
    """Judges the folder of a command's output. ``old`` and ``new``: the files after undisturbed
    runs; ``given``: files of others, which never change."""

    def __init__(self, command: Command, old: Files, new: Files, given: Files, work: Path) -> None:
        self.command, self.old, self.new, self.given = command, old, new, given
        self._seen: dict[tuple[str, str], Records] = {}
        for state, files in ((OLD, old), (NEW, new)):
            for output in command.outputs:
                if output.endswith(".rec") and output in files:
                    folder = work / state
                    write_files(folder, {**files, **given})
                    self._seen[state, output] = Records.of(folder / output)

    def finished(self, output: str, files: Files) -> dict[str, bytes]:
        """The files of an output among all, under their last names."""
        names, known = [output], {*self.old, *self.new, output + "/"}
        if output.endswith(".rec"):
            names += [output.removesuffix(".rec") + suffix for suffix in _COMPANIONS]
            names += [os.path.join(os.path.dirname(output), "property")]
        return {
            name: data
            for name, data in files.items()
            if (name in names or (name.startswith(output + "/") and name in known))
            and name not in self.given
        }

    def others(self, files: Files) -> list[str]:
        """Temporary files: those that are not of an output, and not given."""
        known = {name for output in self.command.outputs for name in self.finished(output, files)}
        folders = {parent for name in self.new for parent in _folders_above(name)}
        return sorted(files.keys() - known - self.given.keys() - folders)

    def state(self, folder: Path, files: Files) -> tuple[list[str], list[str]]:
        """The state of each output, and what is wrong."""
        wrong = [f"{name} of others changed" for name, data in self.given.items()
                 if files.get(name) != data]  # fmt: skip
        states = []
        for output in self.command.outputs:
            state, why = self._state_of(output, folder, files)
            states.append(state)
            wrong += why
        return states, wrong

    def _state_of(self, output: str, folder: Path, files: Files) -> tuple[str, list[str]]:
        present = self.finished(output, files)
        if output.endswith(".rec"):
            return self._state_of_records(output, folder, files, present)
        for state, expected in ((NEW, self.new), (OLD, self.old)):
            if present and present == self.finished(output, expected):
                return state, []
        mark = f"{output}/{self.command.mark}" if self.command.mark else ""
        if not present or list(present) == [output + "/"] or (mark and mark not in present):
            return NOTHING, []
        return BROKEN, [f"{output}: {BROKEN}"]

    def _state_of_records(
        self, output: str, folder: Path, files: Files, present: Files
    ) -> tuple[str, list[str]]:
        if output not in present:
            return NOTHING, [f"{name} without a .rec" for name in present]
        for state, expected in ((NEW, self.new), (OLD, self.old)):
            if present[output] == expected.get(output):
                if present == self.finished(output, expected) and not self.others(files):
                    return state, []
                try:
                    seen = Records.of(folder / output)
                except RecpackError as error:
                    return BROKEN, [f"{output} is {state}, but: {str(error).splitlines()[0]}"]
                differ = [
                    f"{output} is {state}, but its {name} is not"
                    for name, value in vars(self._seen[state, output]).items()
                    if getattr(seen, name) != value
                ]
                return BROKEN if differ else state, differ
        return BROKEN, [f"{output}: {BROKEN}"]

    def complete(self, files: Files) -> bool:
        """Whether the new output is there under its last names, and nothing else."""
        return files == {**self.new, **self.given}


def _folders_above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) + "/" for count in range(1, len(parts))]
