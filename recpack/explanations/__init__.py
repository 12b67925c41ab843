"""What each problem code means, at length: for ``recpack explain`` and the page of the codes."""

from __future__ import annotations

from typing import NamedTuple

from recpack.explanations import images, labels, records
from recpack.problems import CATALOGUE


class Explanation(NamedTuple):
    """``meaning``: what it is, why it matters, what recpack does · ``example``: what causes it ·
    ``remedies``: what to do; a command stands at the end of its line, after a colon."""

    meaning: str
    example: str
    remedies: tuple[str, ...]


def _explanation(code: str) -> Explanation:
    why, example, *more = _TEXTS[code]
    what, remedy, _ = CATALOGUE[code]
    return Explanation(f"{what[0].upper()}{what[1:]}. {why}", example, (remedy, *more))


_TEXTS = labels.TEXTS | images.TEXTS | records.TEXTS
EXPLANATIONS: dict[str, Explanation] = {code: _explanation(code) for code in CATALOGUE}
