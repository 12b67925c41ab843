"""Valid documents with every part replaced in turn by what nobody expects there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

DEEP = "[" * 200_000 + "]" * 200_000
VALUES = ("null", "true", "1e999", "-1", "9" * 400, '""', '"x"', "[]", "{}", "[[]]", '{"a": 1}')
"""Texts of JSON, which are YAML too."""
WORDS = ("", "x", "nan", "inf", "-1", "1e999", "9" * 5000, "\0", "é", "[[", "0\r", "1_0")
"""For files that are columns of text."""
_MARK = "\u2603"


def damaged(document: Any, values: Sequence[str] = (*VALUES, DEEP)) -> Iterator[tuple[str, str]]:
    """For each node of a document and each of ``values``: the path of the node with the value, and
    the text of the document with the value in the node's place."""
    for path in _paths(document, ()):
        text = json.dumps(_replaced(document, path), ensure_ascii=False)
        for value in values:
            yield f"{'.'.join(map(str, path))} = {value[:20]}", text.replace(f'"{_MARK}"', value)


def damaged_rows(text: str) -> Iterator[tuple[str, str]]:
    """The same for the columns of a text with tabs or spaces between them, and for its lines."""
    tab = "\t" if "\t" in text else " "
    rows = [line.split(tab) for line in text.splitlines()]
    for row, columns in enumerate(rows):
        for column in range(-1, len(columns)):
            for word in WORDS:
                line = [*columns[:column], word, *columns[column + 1 :]] if column >= 0 else [word]
                lines = [*rows[:row], line, *rows[row + 1 :]]
                changed = "\n".join(tab.join(one) for one in lines) + "\n"
                yield f"{row}.{column} = {word[:20]!r}", changed


def escapes(
    cases: Iterator[tuple[str, str]],
    read: Callable[[str], object],
    errors: type[Exception] | tuple[type[Exception], ...],
) -> list[str]:
    """The cases whose reading ends by another error than ``errors``. There must be some cases."""
    found = []
    count = 0
    for where, text in cases:
        count += 1
        try:
            read(text)
        except errors:
            pass
        except Exception as error:
            found.append(f"{where}: {type(error).__name__}: {str(error)[:200]}")
    assert count > 20
    return found


def _paths(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    yield path
    inner: Sequence[tuple[str | int, Any]] = []
    if isinstance(node, dict):
        inner = list(node.items())
    elif isinstance(node, list):
        inner = list(enumerate(node))
    for key, value in inner:
        yield from _paths(value, (*path, key))


def _replaced(node: Any, path: tuple[str | int, ...]) -> Any:
    """A copy with the mark in the place of a node."""
    if not path:
        return _MARK
    copy = node.copy()
    copy[path[0]] = _replaced(node[path[0]], path[1:])
    return copy
