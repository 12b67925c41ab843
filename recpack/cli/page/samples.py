"""The samples on a page: a few of each class, with their boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from typing import NamedTuple

from recpack.cli.page.classes import Keys
from recpack.cli.page.pictures import Source, drawn, thumbnails
from recpack.data.labels import class_ids, object_table
from recpack.data.samples import Treatment
from recpack.markup import Box
from recpack.pipeline.check import Check
from recpack.sources.base import Dataset
from recpack.storage.limits import MAX_IMAGE
from recpack.workers.settings import Workers

_SIDES = ((48, 320), (160, 256), (320, 176))
"""Pixels of the longer side, by the number of pictures, so that a page has a few megabytes."""
_CHIPS = 6
_NUMBERS = 12


class _Example(NamedTuple):
    """An image of the data set: its boxes, and the names of their classes or its own."""

    path: str
    names: list[str]
    boxes: list[Box]
    text: str


class Examples:
    """The samples of a check, ready to be shown."""

    def __init__(self, check: Check, keys: Keys) -> None:
        self._check, self._keys = check, keys
        samples, names = check.examples, list(check.classes)
        self._all = [_Example(path, [], [], "") for path in samples.paths]
        objects, owners = object_table(samples)
        for row, owner in zip(objects.tolist(), owners.tolist(), strict=True):
            name = names[int(row[0])]
            self._all[owner].boxes.append(keys.box(name, row[1:5]))
        for id_, owner in zip(*(ids.tolist() for ids in class_ids(samples)), strict=True):
            self._all[owner].names.append(names[id_])
        if check.labels == "numbers":
            for i, (start, stop) in enumerate(pairwise(samples.bounds.tolist())):
                numbers = samples.labels[start:stop].tolist()
                text = " ".join(f"{number:.6g}" for number in numbers[:_NUMBERS])
                self._all[i] = self._all[i]._replace(text=text + " …" * (len(numbers) > _NUMBERS))

    @property
    def classes(self) -> list[str]:
        """The classes that are shown, in the order of their ids."""
        found = {name for example in self._all for name in example.names}
        return [name for name in self._check.classes if name in found]

    def section(self, dataset: Dataset, workers: Workers) -> Iterator[str]:
        """The section of the samples."""
        count, shown = len(self._all), len(self.classes)
        if not count:
            return
        side = next((side for most, side in _SIDES if count <= most), _SIDES[-1][1])
        present = sum(map(bool, self._check.classes.values()))
        limit = f", which show {shown:,} of {present:,} classes" if present > shown else ""
        yield '<section id="samples"><h2>Samples '
        yield f"<small>{count:,} of {self._check.samples:,}{limit}</small></h2>"
        if shown:
            yield '<form class="tools" data-for="samples"><label>Class <select name="classes">'
            yield f"{self._keys.choices(self.classes)}</select></label>"
            yield '<label>File <input type="search" name="file"></label>'
            if self._check.labels == "boxes":
                yield '<label><input type="checkbox" data-toggle="plain" checked> boxes</label>'
            yield '<output aria-live="polite"></output></form>'
        yield f'<div class="pictures s{side}">'
        pictures = thumbnails(self._sources(dataset), count, side, workers)
        for example, picture in zip(self._all, pictures, strict=True):
            yield f'<figure data-classes="{self._keys.joined(example.names)}">'
            counts = Counter(example.names).most_common()
            chips = [
                self._keys.chip(name, f" × {many:,}" if many > 1 else "") for name, many in counts
            ]
            title = f"{example.path}: {', '.join(name for name, _ in counts[:_CHIPS])}"
            yield drawn(picture, example.boxes, title)
            yield f"<figcaption><b>{escape(example.path)}</b>{escape(example.text)}"
            more = f" and {len(chips) - _CHIPS:,} more" if len(chips) > _CHIPS else ""
            yield f"<p>{' '.join(chips[:_CHIPS])}{more}</p></figcaption></figure>"
        yield "</div></section>"

    def _sources(self, dataset: Dataset) -> Iterator[Source]:
        samples = self._check.examples
        try:
            folder = dataset.root.folder(".")
        except (OSError, ValueError):  # it was there
            yield from [(None, Treatment.KEEP)] * len(samples)
            return
        with folder:
            contents = folder.contents(list(samples.paths), MAX_IMAGE)
            for data, treatment in zip(contents, samples.treatments.tolist(), strict=True):
                yield (data if isinstance(data, bytes) else None), Treatment(treatment)
