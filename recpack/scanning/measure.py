"""The first pass over a list: parse its rows and open every image, in parallel, to learn its size.

The coordinator only cuts the list into blocks, and joins what the workers made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from recpack.columns import Int64
from recpack.data.samples import Samples
from recpack.errors import ListError
from recpack.formats.lst import Rows, RowTable, read_rows, row_paths
from recpack.problems import Problem
from recpack.scanning.settings import MeasureSettings
from recpack.sources.lst import find_images, naming, odd_rows
from recpack.storage.blocks import TextBlock, TextFile
from recpack.storage.explain import UNREADABLE, explain
from recpack.storage.files import Closing
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree
from recpack.workers.run import run

_CHUNK = 2048
"""Images per task that are looked up again."""


class _Failure(NamedTuple):
    """An image that can't be opened: its row, the problem code and the reason."""

    row: int
    code: str
    reason: str


class _Looked(NamedTuple):
    """The size of each file, -1 where it can't be opened, and its identity, int64 (2, n)."""

    files: Int64
    failures: list[_Failure]


class _Chunk(NamedTuple):
    """What a worker made of a block: ``odd`` are the rows whose paths perhaps are not those of
    their files, ``fault`` is what is wrong with the list."""

    rows: Rows
    looked: _Looked
    odd: list[int]
    fault: Exception | None = None


class Measured(NamedTuple):
    """A list's ``samples`` with the sizes and identities of their image files · those ``kept``:
    where errors are skipped, without those whose file can't be opened · ``settled``, ``found``: see
    ``sources.lst.find_images`` · ``problems`` of image files."""

    samples: Samples
    kept: Samples
    settled: Mapping[str, str]
    found: list[Problem]
    problems: list[Problem]


class Measuring(Closing):
    """The first pass over a list below ``root``: the workers begin at once, and ``finish`` waits
    for them."""

    def __init__(self, file: TextFile, root: Tree, settings: MeasureSettings) -> None:
        self._file, self._root, self._settings = file, root, settings
        self._fault: Exception | None = None
        jobs, count = settings.jobs, file.block_count
        self._results = run(_read, self._tasks(), count, jobs=jobs, backend=settings.backend)

    def _tasks(self) -> Iterator[tuple[Tree, TextBlock]]:
        for block in self._file.blocks():
            if self._fault is not None:
                return
            paths = list(row_paths(block.rough_lines()))
            if block.number == 1:
                self._root = self._root.holding(next(iter(paths), "."))
            yield self._root.only(paths), block

    def close(self) -> None:
        self._results.close()

    def text(self) -> tuple[Iterator[str], int]:
        """After ``finish``: the text of the list, and its CRC-32."""
        return self._file.again(), self._file.crc32

    def finish(self) -> Measured:
        """The whole list. Raises ListError that names the file: see ``formats.lst.read_rows``,
        ``RowTable.samples``, ``sources.lst.find_images``."""
        table = RowTable()
        count = 0
        sizes: list[Int64] = []
        failures: list[_Failure] = []
        odd: list[int] = []
        for chunk in self._results:
            self._fault = self._fault or chunk.fault  # joblib prints errors if it is stopped now
            table.append(chunk.rows)
            sizes.append(chunk.looked.files)
            failures += (one._replace(row=count + one.row) for one in chunk.looked.failures)
            odd += (count + row for row in chunk.odd)
            count += len(chunk.rows.indices)
        with naming(self._file.path):
            if self._fault is not None:
                raise self._fault
            samples = table.samples(self._root)
        files = np.concatenate(sizes, axis=1)
        written = {row: samples.paths[row] for row in odd}
        samples, settled, found = find_images(self._file.path, samples, written.values())
        again = {row for row, path in written.items() if path in settled or unsafe_path(path)}
        if again:
            failures = [one for one in failures if one.row not in again]
            failures += self._look_again(samples, sorted(again), files)
        samples = replace(samples, image_bytes=files[0], identities=files[1])
        action = self._settings.error_action
        problems = [
            Problem(code, "error", samples.paths[row], action, value=reason)
            for row, code, reason in sorted(failures)
        ]
        kept = samples
        if problems and self._settings.on_error == "skip":
            kept = samples.take(np.flatnonzero(files[0] >= 0))
        return Measured(samples, kept, settled, found, problems)

    def _look_again(self, samples: Samples, rows: list[int], files: Int64) -> Iterator[_Failure]:
        """Open the images of these rows, and put their sizes and identities into ``files``."""
        starts = range(0, len(rows), _CHUNK)
        parts = (rows[start : start + _CHUNK] for start in starts)
        chosen = (samples.paths.take(np.array(part)) for part in parts)
        tasks = ((self._root.only(paths), list(paths)) for paths in chosen)
        settings = self._settings
        results = run(_look, tasks, len(starts), jobs=settings.jobs, backend=settings.backend)
        with closing(results):
            for start, looked in zip(starts, results, strict=True):
                files[:, rows[start : start + _CHUNK]] = looked.files
                yield from (one._replace(row=rows[start + one.row]) for one in looked.failures)


def _read(task: tuple[Tree, TextBlock]) -> _Chunk:
    """Parse a block and open its images; runs in a worker."""
    root, block = task
    try:
        rows = read_rows(block.lines(), block.number)
    except (ListError, ValueError) as error:
        return _Chunk(read_rows(()), _look((root, [])), [], error)
    names: list[str | None] = list(rows.paths)
    odd = odd_rows(list(rows.paths))
    for row in odd:
        if unsafe_path(rows.paths[row]):
            names[row] = None
    looked = _look((root, names))
    return _Chunk(rows, looked, [row for row in odd if looked.files[0, row] < 0])


def _look(task: tuple[Tree, Sequence[str | None]]) -> _Looked:
    """Open images, but none for None; runs in a worker."""
    root, paths = task
    files = np.full((2, len(paths)), -1, np.int64)
    failures = []
    with root.folder(".") as folder:
        for row, opener in enumerate(folder.in_order(paths, head=1)):
            if opener is None:
                continue
            try:
                with opener() as file:
                    files[:, row] = file.size, file.identity
            except UNREADABLE as error:
                failures.append(_Failure(row, *explain(error, "image")))
    return _Looked(files, failures)
