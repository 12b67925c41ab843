"""Graphs of operators as MXNet describes them, each attribute a text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import ModelError


class Node(NamedTuple):
    """An operator, or a variable where ``op`` is ``null``. An input is a node's position in
    ``Symbol.nodes`` and which of its outputs."""

    op: str
    name: str
    attrs: Mapping[str, str]
    inputs: tuple[tuple[int, int], ...] = ()

    def flag(self, key: str, default: bool = False) -> bool:
        """An attribute that is true or false."""
        text = self.attrs.get(key, str(default))
        if text not in _FLAGS:
            raise self.error(key)
        return _FLAGS[text]

    def numbers(self, key: str, default: str = "") -> tuple[float, ...]:
        """An attribute of one or several finite numbers."""
        text = self.attrs.get(key, default)
        try:
            numbers = tuple(map(float, text.strip("()[] ").rstrip(",").split(",")))
        except ValueError:
            raise self.error(key) from None
        if not all(map(math.isfinite, numbers)):
            raise self.error(key)
        return numbers

    def number(self, key: str, default: str = "") -> float:
        """An attribute of one finite number."""
        numbers = self.numbers(key, default)
        if len(numbers) != 1:
            raise self.error(key)
        return numbers[0]

    def integers(self, key: str, default: str = "", least: int = -(2**31)) -> tuple[int, ...]:
        """An attribute of whole numbers, each ``least`` or more."""
        numbers = tuple(map(int, self.numbers(key, default)))
        if numbers != self.numbers(key, default) or not all(
            least <= number < 2**31 for number in numbers
        ):
            raise self.error(key)
        return numbers

    def pair(self, key: str, default: str, least: int = 1) -> tuple[int, int]:
        """An attribute of two whole numbers, for height and width."""
        numbers = self.integers(key, default, least)
        if len(numbers) != 2:
            raise self.error(key)
        return numbers[0], numbers[1]

    def error(self, key: str) -> ModelError:
        """For an attribute that can't be."""
        value = f"{self.attrs[key][:80]!r}" if key in self.attrs else "missing"
        return ModelError(f"node {self.name[:80]!r} ({self.op}): {key} is {value}")


_FLAGS = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}

INPUTS = {
    "BatchNorm": ("data", "gamma", "beta", "moving_mean", "moving_var"),
    "Convolution": ("data", "weight", "bias"),
}
"""The operators that have parameters, and what they call their inputs."""

CHANGED = {"BatchNorm": (3, 4)}
"""Inputs that an operator changes itself: auxiliary states, and no arguments."""


@dataclass(frozen=True)
class Symbol:
    """A graph. Every node comes after its inputs, in the order in which MXNet visits them."""

    nodes: tuple[Node, ...]
    heads: tuple[tuple[int, int], ...]
    version: int = 10901

    def arguments(self) -> list[str]:
        """As MXNet's ``list_arguments``: parameters, and the inputs ``data`` and ``label``."""
        return self._variables(auxiliary=False)

    def auxiliary(self) -> list[str]:
        """As MXNet's ``list_auxiliary_states``: means and variances."""
        return self._variables(auxiliary=True)

    def changed(self) -> set[int]:
        """The places of auxiliary states."""
        return {
            node.inputs[number][0]
            for node in self.nodes
            for number in CHANGED.get(node.op, ())
            if number < len(node.inputs)
        }

    def _variables(self, auxiliary: bool) -> list[str]:
        changed = self.changed()
        return [
            node.name
            for place, node in enumerate(self.nodes)
            if node.op == "null" and (place in changed) == auxiliary
        ]


def in_order(nodes: Sequence[Node], heads: Sequence[tuple[int, int]], name: str = "") -> Symbol:
    """The graph of the nodes that the heads need, each after its inputs (MXNet's order). Raises
    ModelError for a circle or an input that is not there."""
    ordered: list[Node] = []
    places: dict[int, int] = {}
    opened: set[int] = set()
    waiting = [head for head, _ in reversed(heads)]
    while waiting:
        here = waiting[-1]
        if not 0 <= here < len(nodes):
            raise ModelError(f"{name}: there is no node {here}; there are {len(nodes)}")
        node = nodes[here]
        if here not in places and here not in opened:
            opened.add(here)
            waiting += [place for place, _ in reversed(node.inputs) if place not in places]
            continue
        waiting.pop()
        if here not in places:
            missing = [place for place, _ in node.inputs if place not in places]
            if missing:
                raise ModelError(f"{name}: node {here} ({node.name[:80]}) is its own input")
            inputs = tuple((places[place], output) for place, output in node.inputs)
            places[here] = len(ordered)
            ordered.append(node._replace(inputs=inputs))
    return Symbol(tuple(ordered), tuple((places[place], output) for place, output in heads))
