"""What notebooks show of answers and evaluations: HTML that needs no network, light and dark."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from .errors import TrainError

if TYPE_CHECKING:
    from .detections import Found

_LONGER = 640
"""Pixels of a picture's longer side."""
_ROWS = 20


def found_html(found: Found[Any]) -> str:
    """The image with what was found in it, where the image is at hand, and a table."""
    rows = [(one.name, f"{one.score:.3f}") for one in found.found[:_ROWS]]
    if len(found) > _ROWS:
        rows.append((f"… and {len(found) - _ROWS:,} more", ""))
    title = f"{len(found):,} found, {found.width} x {found.height} pixels"
    return f"<div><b>{title}</b>{_picture(found)}{_table(rows)}</div>"


def by_class_html(name: str, value: float, by_class: Mapping[str, float]) -> str:
    """A number, and what it is for each class."""
    rows = _table((one, f"{number:.4f}") for one, number in by_class.items())
    return f"<div><b>{name} {value:.4f}</b>{rows}</div>"


def _picture(found: Found[Any]) -> str:
    draw = getattr(found, "draw", None)
    if found.image is None or draw is None:
        return ""
    import cv2

    try:
        pixels = draw().pixels
    except (TrainError, OSError):  # the file can have gone
        return ""
    scale = min(_LONGER / max(pixels.shape[:2]), 1)
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
    return f'<img style="display:block;max-width:100%" src="data:image/jpeg;base64,{data}"/>'


def _text(name: str) -> str:
    """A name as harmless HTML."""
    return escape("".join(one if one.isprintable() else "?" for one in name[:200]))


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cell = '<td style="text-align:left;padding:.15em 1.2em .15em 0;background:none">'
    lines = (f"<tr>{cell}{_text(name)}</td>{cell}{value}</td></tr>" for name, value in rows)
    return f'<table style="border-collapse:collapse">{"".join(lines)}</table>'
