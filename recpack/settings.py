"""Settings: each option is written once, as a field of a small frozen dataclass.

Everything else is derived from the field: the command line's option and its help, the keyword of
the public function, validation, what the manifest keeps, and the tables of the documentation.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from recpack.arguments import alternatives, demand, fits, misfit, type_of
from recpack.display import did_you_mean
from recpack.errors import ConfigError

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
P = ParamSpec("P")


class Option(typing.NamedTuple):
    """How a field appears on the command line.

    ``flag``: its name there, if not the field's name · ``off``: the help of ``--no-NAME``, which
    sets None · ``shapes``: it changes the bytes of the output, so the manifest keeps it · ``read``
    converts the user's value into the stored one, and raises ValueError with the reason when it
    can't · ``short``: a letter on the command line · ``words``: values that a shell completes,
    where others are possible.
    """

    help: str
    metavar: str | None
    flag: str | None
    off: str | None
    shapes: bool
    read: Callable[[Any], Any] | None
    short: str | None = None
    words: tuple[str, ...] = ()


def option(
    *,
    default: T,
    help: str,
    metavar: str | None = None,
    flag: str | None = None,
    off: str | None = None,
    shapes: bool = False,
    read: Callable[[Any], Any] | None = None,
    short: str | None = None,
    words: tuple[str, ...] = (),
) -> T:
    """A field of ``Settings`` with its ``default``; see ``Option``."""
    metadata = {"option": Option(help, metavar, flag, off, shapes, read, short, words)}
    value: T = field(default=default, metadata=metadata)
    return value


class Field(typing.NamedTuple):
    """A field that is an option: its name, type, default and ``Option``."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.option.flag or "--" + self.name.replace("_", "-")

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value can have, without None; for a ``Literal`` the values."""
        return tuple(part for part in alternatives(self.type) if part is not type(None))

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a ``Literal``; empty for other types."""
        if all(typing.get_origin(kind) is Literal for kind in self.kinds):
            return tuple(value for kind in self.kinds for value in typing.get_args(kind))
        return ()

    @property
    def length(self) -> int:
        """The number of values of a tuple; 1 for other types."""
        (kind, *others) = self.kinds
        pair = not others and typing.get_origin(kind) is tuple
        return len(typing.get_args(kind)) if pair else 1

    def fault(self, value: object) -> str | None:
        """What is wrong with the type of a value, or None."""
        if _has_empty(value if isinstance(value, str) or self.length > 1 else None):
            return f"{self.name}: must not be empty"
        if self.choices and not fits(value, self.type):
            near = did_you_mean(str(value), self.choices)
            return f"{self.name}: must be one of {', '.join(self.choices)} (got {value!r}){near}"
        return misfit(self.name, value, self.type)

    @property
    def off(self) -> str | None:
        """The help of ``--no-NAME``, or None without such a flag."""
        return self.option.off


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(option, field)
)
class Settings:
    """Base of the settings of each room: frozen dataclasses with keywords only. Raises ConfigError
    that lists everything wrong.

    A room that takes the settings of several rooms inherits from them; ``title`` is the heading of
    the room's own options in the help. All share one ``__init__``, because Python takes a
    millisecond to generate that of each dataclass.
    """

    title: ClassVar[str] = ""
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, **keywords: Any) -> None:
        values = vars(self)
        for one in fields(self):
            values[one.name] = keywords.pop(one.name, one.default) if one.init else one.default
        if keywords:
            name = next(iter(keywords))
            raise TypeError(f"{type(self).__name__}() has no option {name!r}")
        faults: list[str] = []
        for room, options in rooms(type(self)):
            by_option = {one: fault for one in options if (fault := self._read(one))}
            for other in _others(type(self), room):
                if fault := other.fault(values[other.name]):
                    by_option[other] = fault
            faults += by_option.values()
            # a room's own checks need values of the right type
            if all(one.choices for one in by_option) and "faults" in vars(room):
                faults += room.faults(self)
        if faults:
            raise ConfigError("\n".join(faults))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} can't be changed; make a new one with replace")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        changes = (one for one in fields(self) if vars(self)[one.name] != one.default)
        text = ", ".join(f"{one.name}={vars(self)[one.name]!r}" for one in changes if one.repr)
        return f"{type(self).__name__}({text})"

    def faults(self) -> Iterator[str]:
        """What is wrong with this room's own values, one line each; also sets derived values."""
        return iter(())

    def _running(self) -> AbstractContextManager[None]:
        """What the function that takes these settings runs in."""
        return nullcontext()

    def part(self, kind: type[S]) -> S:
        """Only the settings of ``kind``, one of the rooms that these inherit from: for that room's
        functions, or for a worker."""
        part = object.__new__(kind)
        vars(part).update({one.name: getattr(self, one.name) for one in fields(kind)})
        return part

    def shaping(self) -> dict[str, object]:
        """The options that change the bytes of the output, for the manifest."""
        return {
            one.name: getattr(self, one.name)
            for _, options in rooms(type(self))
            for one in options
            if one.option.shapes
        }

    def _read(self, one: Field) -> str | None:
        value = getattr(self, one.name)
        fault = one.fault(value)
        if fault is None and hasattr(value, "__len__") and not isinstance(value, (str, Mapping)):
            vars(self)[one.name] = value = tuple(value)  # an array compares otherwise
        if fault is None and one.option.read is not None and value is not None:
            try:
                vars(self)[one.name] = one.option.read(value)
            except ValueError as error:
                fault = f"{one.name}: {error}"
        return fault


class NoSettings(Settings):
    """Those of a command that has none."""


S = TypeVar("S", bound=Settings)


_NO_OPTION = Option("", None, None, None, False, None)
_OTHERS: dict[tuple[type, type], list[Field]] = {}
_ROOMS: dict[type, list[tuple[type[Settings], list[Field]]]] = {}


def rooms(kind: type[Settings]) -> list[tuple[type[Settings], list[Field]]]:
    """The classes that these settings inherit from, each with its own options, in order."""
    if kind in _ROOMS:
        return _ROOMS[kind]
    hints = typing.get_type_hints(kind)
    by_name = {one.name: one for one in fields(kind) if "option" in one.metadata}
    result = []
    for room in kind.__mro__:
        own = [name for name in vars(room).get("__annotations__", ()) if name in by_name]
        if own or "faults" in vars(room) or _others(kind, room):
            options = [
                Field(name, hints[name], by_name[name].default, by_name[name].metadata["option"])
                for name in own
            ]
            result.append((room, options))
    _ROOMS[kind] = result
    return result


def _others(kind: type[Settings], room: type[Settings]) -> list[Field]:
    """The fields of a room that a user gives, and that are no options of the command line."""
    if (kind, room) not in _OTHERS:
        plain = {one.name: one for one in fields(kind) if one.init and "option" not in one.metadata}
        found = [name for name in vars(room).get("__annotations__", ()) if name in plain]
        hints = typing.get_type_hints(kind) if found else {}
        _OTHERS[kind, room] = [
            Field(name, hints[name], plain[name].default, _NO_OPTION) for name in found
        ]
    return _OTHERS[kind, room]


def options_of(kind: type[Settings]) -> Iterator[Field]:
    """All options, in the order of the rooms."""
    for _, options in rooms(kind):
        yield from options


class takes(Generic[P, S]):
    """Replace a function's last parameter, its settings, by one keyword for each field.

    ``@takes(Settings)`` turns ``f(path, settings)`` into ``f(path, *, one=…, other=…)``; type
    checkers see every keyword and its type.
    """

    def __init__(self, settings: Callable[P, S]) -> None:
        self._settings = settings

    @overload
    def __call__(self, function: Callable[[A, S], R]) -> Callable[Concatenate[A, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, B, S], R]) -> Callable[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(
        self, function: Callable[[A, B, C, S], R]
    ) -> Callable[Concatenate[A, B, C, P], R]: ...
    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        kind = typing.cast(type[Settings], self._settings)
        own = inspect.signature(function)
        positional = list(own.parameters.values())[:-1]
        keywords = [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type
            )
            for one in sorted(fields(kind), key=_order(kind))
            if one.init
        ]
        signature = own.replace(parameters=[*positional, *keywords])

        @functools.cache
        def types_of() -> dict[str, Any]:
            annotated = [one for one in positional if one.annotation is not one.empty]
            return {one.name: type_of(one.annotation, function.__globals__) for one in annotated}

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> R:
            try:
                bound = signature.bind(*arguments, **options).arguments
            except TypeError as error:
                wrong = [name for name in options if name not in signature.parameters]
                near = did_you_mean(wrong[0], signature.parameters) if wrong else ""
                raise TypeError(f"{function.__qualname__}() {error}{near}") from None
            for name, of_type in types_of().items():
                demand(name, bound[name], of_type)
            values = [bound.pop(parameter.name) for parameter in positional]
            for parameter, value in zip(positional, values, strict=True):
                if _has_empty(value):
                    raise ConfigError(f"{parameter.name}: must not be empty")
            settings = kind(**bound)
            with settings._running():
                return function(*values, settings)

        del call.__wrapped__  # it takes other arguments
        call.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
        return call


def _has_empty(value: object) -> bool:
    """Whether a path, or one of several, is ``""``, which would be the current folder."""
    paths = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(one, str) and not one for one in paths)


def _order(kind: type[Settings]) -> Callable[[Any], int]:
    """The rank of a dataclass's field in the order of the rooms, not of inheritance."""
    names = [name for room in kind.__mro__ for name in vars(room).get("__annotations__", ())]
    return lambda one: names.index(one.name)
