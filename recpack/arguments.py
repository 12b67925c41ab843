"""Arguments of functions, held against the types that their annotations say."""

from __future__ import annotations

import builtins
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from recpack.display import shortened
from recpack.errors import ConfigError

_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "True or False"), int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"), str: ("text", "texts"), os.PathLike: ("a path", "paths"),
    Callable: ("a function", "functions"), Mapping: ("a dict", "dicts"), type(None): ("None", ""),
}  # fmt: skip
"""What messages call the types: one value, and several."""
_NO_LIST = (str, bytes, set, frozenset, Mapping)
"""Collections that are no sequence: a text is one name, and a set has no order."""


def misfit(name: str, value: object, kind: Any) -> str | None:
    """What is wrong with the argument ``name`` if it is not of this type, or None."""
    if fits(value, kind):
        return None
    why = "; a set has no order" if isinstance(value, (set, frozenset)) else ""
    return f"{name}: must be {_words(kind)} (got {shortened(repr(value))}){why}"


def demand(name: str, value: object, kind: Any) -> None:
    """Raise ConfigError if the argument ``name`` is not of this type."""
    if fault := misfit(name, value, kind):
        raise ConfigError(fault)


class _Later(type):
    """The type of classes that only type checkers import: they are known by their names."""

    def __instancecheck__(cls, value: object) -> bool:
        return cls.__name__ in (one.__name__ for one in type(value).__mro__)


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, None) or _Later(name, (), {})


def type_of(annotation: str, names: Mapping[str, Any]) -> Any:
    """The type that an annotation says in a module with these ``names``."""
    return eval(annotation, {}, _Names(names))


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union; else the type alone."""
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if union else (kind,)


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type as annotations write it."""
    if kind is Any:
        return True
    if len(kinds := alternatives(kind)) > 1:
        return any(fits(value, one) for one in kinds)
    origin, parts = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (int, float):
        return hasattr(value, "__index__" if origin is int else "__float__")
    if origin in (Sequence, tuple):
        if not hasattr(value, "__len__") or isinstance(value, _NO_LIST):
            return False
        values = list(typing.cast("Iterable[object]", value))
        parts = parts if origin is tuple else parts * len(values)
        return len(values) == len(parts) and all(map(fits, values, parts))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            fits(one, part) for item in value.items() for one, part in zip(item, parts, strict=True)
        )
    return isinstance(value, origin)


def _words(kind: Any, several: bool = False) -> str:
    kinds = alternatives(kind)
    if any(typing.get_origin(one) is os.PathLike for one in kinds):  # a text is one too
        kinds = tuple(one for one in kinds if one is not str)
    if len(kinds) > 1:
        kinds = tuple(sorted(kinds, key=lambda one: one is type(None)))
        *words, last = (_words(one, several) for one in kinds)
        return f"{', '.join(words)} or {last}"
    origin, parts = typing.get_origin(kinds[0]) or kinds[0], typing.get_args(kinds[0])
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin is tuple:
        return f"{len(parts)} {_words(parts[0], several=True)}"
    if origin is Sequence:
        return f"a list of {_words(parts[0], several=True)}"
    return _WORDS.get(origin, (f"a {origin.__name__}", ""))[several]
