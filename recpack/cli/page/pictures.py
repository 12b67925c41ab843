"""The pictures of a page: shrunk images with their boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from recpack.data.samples import Treatment
from recpack.errors import DataError
from recpack.formats.encoding import Encoding
from recpack.formats.image_codec import decode, encode, shrink
from recpack.formats.image_header import parse_header
from recpack.markup import Box, svg_picture
from recpack.workers.run import run
from recpack.workers.settings import Workers

Source = tuple[bytes | None, Treatment]
"""An image's bytes, None for no picture, and how it is shown."""

_UNITS = 320
"""Length of a picture's longer side in the units of its SVG, whatever its pixels."""
_QUALITY = 75
_BATCH = 4


class Thumbnail(NamedTuple):
    """``jpeg``: the shrunk image · ``width`` and ``height`` of the image itself, in pixels."""

    jpeg: bytes
    width: int
    height: int


def thumbnails(
    sources: Iterable[Source], count: int, side: int, workers: Workers
) -> Iterator[Thumbnail | None]:
    """The image of each source, its longer side at most ``side`` pixels; None where none can be
    decoded."""
    left = iter(sources)
    batches = iter(lambda: list(islice(left, _BATCH)), [])
    function = partial(_shrink, side=side)
    jobs, backend = workers.jobs, workers.backend
    for batch in run(function, batches, -(-count // _BATCH), jobs=jobs, backend=backend):
        yield from batch


def _shrink(sources: Sequence[Source], side: int) -> list[Thumbnail | None]:
    """Runs in a worker."""
    return [None if data is None else _thumbnail(data, how, side) for data, how in sources]


def _thumbnail(data: bytes, treatment: Treatment, side: int) -> Thumbnail | None:
    try:
        header = parse_header(data)
        as_stored = treatment is Treatment.AS_STORED
        width, height = (header.width, header.height) if as_stored else header.upright
        longer = max(width, height)
        reduction = next((by for by in (8, 4, 2) if longer >= by * side), 1)
        pixels = shrink(decode(data, treatment, reduction), side)
    except DataError:
        return None
    return Thumbnail(encode(pixels, Encoding(quality=_QUALITY)).tobytes(), width, height)


def drawn(picture: Thumbnail | None, boxes: Iterable[Box], title: str) -> str:
    """The picture with its boxes."""
    if picture is None:
        return '<div class="missing">no picture</div>'
    longer = max(picture.width, picture.height)
    width, height = (max(_UNITS * side / longer, 1) for side in picture[1:])
    return svg_picture(picture.jpeg, (width, height), boxes, title)
