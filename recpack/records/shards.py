"""The files of a reader, of which some are open."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from recpack.errors import RecordError
from recpack.records.record_file import Identity, RecordFile, open_file
from recpack.storage.files import Closing
from recpack.storage.s3.client import S3Client

_MOST_OPEN = 64
"""Files that are open at once; each mapped one has two descriptors. Systems allow 256 and more."""


class Shards(Closing):
    """The ``.rec`` files of a reader, opened when they are needed, at most 64 at a time.

    A file that was open before, here or in the process that pickled this, must be the same version
    when it is opened again. Raises RecordError.
    """

    def __init__(
        self,
        paths: Sequence[str],
        s3: S3Client,
        *,
        mapped: bool,
        identities: Sequence[Identity | None] = (),
    ) -> None:
        self.paths = tuple(paths)
        self._s3, self._mapped = s3, mapped
        self._identities = list(identities) or [None] * len(paths)
        self.open: dict[int, RecordFile] = {}
        """By their numbers."""
        self._lock = threading.Lock()
        self._closed = False

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.paths, self._s3, self._mapped, self._identities)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> RecordFile:
        """The open file. It stays open for whoever has it, also when others take its place."""
        file = self.open.get(number)
        if file is not None:
            return file
        path = self.paths[number]
        self.demand_open(number)
        file = open_file(path, self._s3, mapped=self._mapped, identity=self._identities[number])
        with self._lock:
            if number not in self.open:  # else another thread was faster
                self._identities[number] = file.identity
                while len(self.open) >= _MOST_OPEN:
                    del self.open[next(iter(self.open))]
                self.open[number] = file
            return self.open[number]

    def demand_open(self, number: int) -> None:
        """Raise RecordError that names a file, once all are closed."""
        if self._closed:
            raise RecordError(
                f"{self.paths[number]}: the reader is closed; read inside its with block, or make "
                "another RecordReader"
            )

    def identity(self, number: int) -> Identity:
        """What tells this version of a file from others."""
        return self._identities[number] or self[number].identity

    def release(self, number: int) -> None:
        """Let go of a file of several that was read to its end, with what it reads in advance; a
        memory map stays, because it takes time to make it."""
        if len(self) > 1 and self[number].map is None:
            self.open.pop(number, None)

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._closed = True
        for file in self.open.values():
            file.close()
        self.open.clear()


def _restore(
    paths: Sequence[str], s3: S3Client, mapped: bool, identities: Sequence[Identity | None]
) -> Shards:
    return Shards(paths, s3, mapped=mapped, identities=identities)
