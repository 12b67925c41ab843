"""The classes on a page: their colours and keys, and a table of their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from itertools import islice

from recpack.colours import Colour, class_colour, css
from recpack.data.statistics import BOX_SIDES
from recpack.markup import Box
from recpack.pipeline.check import Check

_MOST = 1000
"""The most rows of the table."""
_ABSENT = 100
"""The most classes without a sample that are named."""
_UNKNOWN = (139, 148, 158)
_SIDES = ("min", "median", "max")
_STRIP = 20
"""Height of a small histogram."""


class Keys:
    """A number for each class name, which the script compares: the id, and for unknown classes the
    numbers after all ids."""

    def __init__(self, names: Iterable[str]) -> None:
        self._keys = {name: id_ for id_, name in enumerate(names)}
        self._known = len(self._keys)

    def of(self, name: str) -> int:
        """The key of a class."""
        return self._keys.setdefault(name, len(self._keys))

    def colour(self, name: str) -> Colour:
        """The colour of a class; gray for an unknown one."""
        key = self.of(name)
        return class_colour(key) if key < self._known else _UNKNOWN

    def box(self, name: str, edges: Iterable[float], *, bad: bool = False) -> Box:
        """A box of the class, its edges as ratios; a ``bad`` one is the object of a problem."""
        style = ' class="bad"' * bad
        left, top, right, bottom = edges
        attributes = f'data-c="{self.of(name)}"{style}'
        return Box(left, top, right, bottom, name, self.colour(name), attributes)

    def chip(self, name: str, text: str = "") -> str:
        """The name with its colour."""
        return (
            '<span class="chip"><svg viewBox="0 0 10 10" aria-hidden="true">'
            f'<circle cx="5" cy="5" r="5" fill="{css(self.colour(name))}"/></svg>'
            f"{escape(name)}{text}</span>"
        )

    def joined(self, names: Iterable[str]) -> str:
        """The keys of names, for an attribute that the script reads."""
        return " ".join(map(str, sorted(set(map(self.of, names)))))

    def choices(self, names: Iterable[str]) -> str:
        """The options of a filter."""
        keys = sorted({self.of(name): name for name in names}.items())
        return '<option value="">all classes</option>' + "".join(
            f'<option value="{key}">{escape(name)}</option>' for key, name in keys
        )


def class_table(check: Check, keys: Keys, shown: Collection[str]) -> Iterator[str]:
    """The section of the classes, a row for each. Those that are ``shown`` by samples lead there.
    Numbers have none."""
    if check.labels == "numbers" or not check.samples:
        return
    present = {name: count for name, count in check.classes.items() if count}
    absent = [name for name, count in check.classes.items() if not count]
    yield f'<section id="classes"><h2>Classes <small>{len(present):,}</small></h2>'
    yield '<div class="card scroll"><table class="classes sortable" aria-label="Classes">'
    yield "<thead><tr>"
    boxes = check.labels == "boxes"
    heads = ["class", "objects", "images", *_SIDES] if boxes else ["class", "images"]
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    if boxes:
        edges = ", ".join(map(str, BOX_SIDES))
        yield f'<th scope="col" data-fixed title="boxes by side, from {edges} pixels">sizes</th>'
    yield "</tr></thead><tbody>"
    most = max(present.values(), default=1)
    for name, count in islice(present.items(), _MOST):
        chip = keys.chip(name)
        if name in shown:
            chip = f'<a href="#samples" data-show="{keys.of(name)}">{chip}</a>'
        yield f'<tr><th scope="row">{chip}</th><td data-v="{count}">'
        yield f"{bar(count / most, css(keys.colour(name)))}<b>{count:,}</b></td>"
        if boxes:
            spread = check.class_sides[name]
            numbers = check.class_images[name], spread.low, spread.median, spread.high
            yield "".join(map(_number, numbers))
            yield f"<td>{_strip(check.class_side_counts[name], keys.colour(name))}</td>"
        yield "</tr>"
    yield "</tbody></table></div>"
    hints = [f"The first {_MOST:,} classes of {len(present):,}."] * (len(present) > _MOST)
    hints += ["Min, median and max are of the sides of the boxes: √area, in pixels."] * boxes
    if absent:
        more = ", …" * (len(absent) > _ABSENT)
        hints.append(f"In no sample: {escape(', '.join(absent[:_ABSENT]))}{more}.")
    yield f'<p class="hint">{" ".join(hints)}</p></section>'


def bar(share: float, fill: str = "currentColor") -> str:
    """A horizontal bar, as wide as its column for a ``share`` of 1."""
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * share:.1f}" height="8" fill="{fill}"/></svg>'
    )


def _number(value: float) -> str:
    return f'<td data-v="{value:.6g}">{value:,.0f}</td>'


def _strip(counts: Sequence[int], colour: Colour) -> str:
    """A small histogram."""
    most = max(counts)
    path = "".join(
        f"M{8 * i} {_STRIP}v-{max(_STRIP * count / most, 1):.1f}h7v{_STRIP}z"
        for i, count in enumerate(counts)
        if count
    )
    return (
        f'<svg class="strip" viewBox="0 0 {8 * len(counts)} {_STRIP}" role="img" '
        f'aria-label="{" ".join(map(str, counts))}"><path d="{path}" fill="{css(colour)}"/></svg>'
    )
