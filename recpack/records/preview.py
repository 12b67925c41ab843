"""Draw records on a sheet, to be put in a slide."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from typing import Any

import cv2
import numpy as np

from recpack.errors import ConfigError, DataError, SinkError
from recpack.formats.insightface import identity_keys
from recpack.formats.record import Record
from recpack.problems import count_text
from recpack.records.reader import RecordReader
from recpack.records.settings import PreviewSettings, positions
from recpack.records.sheet import contact_sheet
from recpack.settings import takes
from recpack.storage.files import make_parents, replace_file
from recpack.storage.paths import PathOrUrl, base_name, local_path
from recpack.storage.s3.access import Access

_FACES = 5
"""Faces of an identity that stand side by side, if it has so many."""


@takes(PreviewSettings)
def preview(
    path: PathOrUrl, output: str | os.PathLike[str], settings: PreviewSettings
) -> list[int]:
    """Draw records and write the sheet as ``.png`` or ``.jpg``, by the name of ``output``. The
    records are those at the positions ``records``, or ``count`` images that ``seed`` chooses.
    ``cell``: pixels of a cell's longer side; without it, the sheet is 1,920 pixels wide, or 3,840
    if an image has many objects. Returns the positions, as drawn: faces of one identity are side by
    side. Raises DataError for positions that do not exist, SinkError for an output that can't be
    written. Of an image, the first 1,000 objects are drawn, without those of infinite edges."""
    sheet_path = local_path(output)
    if sheet_path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"output: must end in .png or .jpg (got {output})")
    with RecordReader(path, mapped=False, **vars(settings.part(Access))) as reader:
        total = len(reader)
        faces = total > 0 and identity_keys(next(iter(reader))) is not None
        if settings.records is None:
            chosen = _choose(reader, settings, faces=faces)
        else:
            chosen = list(positions(settings.records))
        missing = [position for position in chosen if not -total <= position < total]
        if missing or not chosen:
            wanted = f"record {missing[0]}" if missing else "record with an image"
            raise DataError(f"{path}: no {wanted}; there are {total:,}")
        manifest = reader.manifest()
        title = base_name(path), f"{len(chosen):,} of {count_text(total, 'record')}"
        # read again and again, because all together could fill the memory
        batch = _Chosen(reader, chosen)
        numbers = [position % total for position in chosen]
        sheet = contact_sheet(batch, manifest, settings.cell, title, numbers, faces=faces)
    _, data = cv2.imencode(sheet_path.suffix.lower(), sheet)
    try:
        make_parents(sheet_path)
        with replace_file(sheet_path) as file:
            file.write(data.data)
    except OSError as error:
        raise SinkError(f"{output}: can't be written: {error.strerror}") from error
    return chosen


class _Chosen(Sequence[Record]):
    """Records that are read when they are asked for."""

    def __init__(self, reader: RecordReader, chosen: Sequence[int]) -> None:
        self._reader, self._chosen = reader, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: Any) -> Any:
        return self._reader[self._chosen[number]]


def _choose(reader: RecordReader, settings: PreviewSettings, *, faces: bool) -> list[int]:
    """Positions of images, in order; of faces, some of each identity that is met."""
    order = np.random.RandomState(settings.seed).permutation(len(reader)).tolist()
    images = (position for position in order if reader[position].is_image)
    if not faces:
        return sorted(islice(images, settings.count))
    chosen: dict[int, None] = {}
    for position in images:
        identity = reader[position].label[0]
        for near in range(position, min(position + _FACES, len(reader))):
            if not (reader[near].is_image and reader[near].label[0] == identity):
                break
            chosen[near] = None
        if len(chosen) >= settings.count:
            break
    return sorted(islice(chosen, settings.count))
