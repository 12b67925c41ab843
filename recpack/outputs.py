"""Texts written whole or not at all, to a path or ``s3://…``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recpack.errors import SinkError
from recpack.places import Place
from recpack.s3.access import PREFLIGHT_PATIENCE, Access
from recpack.s3.location import is_s3, parse_location
from recpack.sinks.file import write_file


def write_text(place: Place, lines: Iterable[str], access: Access) -> None:
    """Write a text of any length; SinkError."""
    if not is_s3(place):
        write_file(Path(place), lines)
        return
    from recpack.s3.objects import put_lines

    try:
        put_lines(access, parse_location(place), lines)
    except OSError as error:
        raise SinkError(f"{place}: {error}") from error


def demand_free(place: Place, access: Access, *, overwrite: bool) -> None:
    """SinkError when there is something that must not be replaced."""
    if not overwrite and _exists(place, access):
        raise SinkError(f"{place} exists; choose another name or replace it with --overwrite")


def _exists(place: Place, access: Access) -> bool:
    if not is_s3(place):
        return Path(place).exists()
    from recpack.s3.objects import head

    try:
        head(access, parse_location(place), patience=PREFLIGHT_PATIENCE)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SinkError(f"{place}: {error}") from error
    return True
