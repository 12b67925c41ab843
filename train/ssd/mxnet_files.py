"""MXNet's model files, read and written without MXNet: arrays (``.params``) and graphs
(``-symbol.json``).

``.params``, little-endian (MXNet 1.9.1, src/ndarray/ndarray.cc, include/mxnet/tuple.h)::

    u64 0x112 | u64 reserved | u64 count | arrays | u64 count | names: u64 length, bytes

    V2, V3:  u32 0xF993FAC9, 0xF993FACA | i32 storage type | shape | context | i32 dtype | data
    V1:      u32 0xF993FAC8 | shape | context | i32 dtype | data
    V0:      u32 dimensions | u32 each | context | i32 dtype | data

    shape:   i32 dimensions | i64 each            context: i32 device type, i32 device number

The graph (nnvm, src/pass/saveload_json.cc) is ``nodes`` of ``op``, ``name``, ``attrs`` and
``inputs``, each a node, which of its outputs, and a number that tells where an operator changes
it; ``op`` is ``null`` for a variable. Older files say ``param`` and ``attr`` for ``attrs``; what
MXNet does to them as it loads them (src/nnvm/legacy_json_util.cc) is done here.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from .symbols import CHANGED, INPUTS, in_order
from .symbols import Node as Node
from .symbols import Symbol as Symbol

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
"""By their names in the file, ``arg:conv0_weight``, ``aux:bn0_moving_mean``, in its order."""

_LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_SPARSE = {1: "row_sparse", 2: "csr"}
_DTYPES = dict(enumerate(("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?")))
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_MAX_DIMENSIONS = 8
_MAX_ARRAYS = 1 << 16
"""More than any network has, and few enough for a file of empty ones to cost no memory."""
_MAX_GRAPH = 4 << 20
"""Bytes of a symbol file; a large network's has 300,000."""


class _File:
    """Bytes with a position."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.position = 0

    def error(self, what: str) -> ModelError:
        return ModelError(f"{self.name}: {what}, before byte {self.position}; copy the file anew")

    def skip(self, size: int) -> int:
        """The position of the next ``size`` bytes, which are there."""
        start = self.position
        if size > len(self.data) - start:
            raise self.error(f"{size} bytes should follow and {len(self.data) - start} do")
        self.position += size
        return start

    def numbers(self, layout: str) -> tuple[int, ...]:
        layout = f"<{layout}"
        return struct.unpack_from(layout, self.data, self.skip(struct.calcsize(layout)))

    def number(self, layout: str) -> int:
        return self.numbers(layout)[0]

    def array(self, what: str) -> Array:
        magic = self.number("I")
        if magic in (_V2, _V3) and (storage := self.number("i")):
            kind = _SPARSE.get(storage, f"of the unknown storage type {storage}")
            raise self.error(f"{what} is {kind}; only dense arrays are read")
        old = magic not in (_V1, _V2, _V3)
        dimensions = magic if old else self.number("i")
        # a scalar exists in V3 alone; elsewhere no dimension is an array that was never filled
        if not (magic != _V3) <= dimensions <= _MAX_DIMENSIONS:
            raise self.error(f"{what} has {dimensions} dimensions")
        shape = self.numbers(f"{dimensions}{'I' if old else 'q'}")
        if any(side < 1 for side in shape):
            raise self.error(f"{what} has the shape {shape}")
        code = self.numbers("iii")[2]
        if code not in _DTYPES:
            raise self.error(f"{what} has the unknown dtype {code}")
        dtype = np.dtype(_DTYPES[code])
        count = math.prod(shape)
        start = self.skip(count * dtype.itemsize)
        return np.frombuffer(self.data, dtype, count, start).reshape(shape)


def read_arrays(data: bytes, name: str) -> Arrays:
    """The arrays of a ``.params`` file; they are views of ``data``, read-only. Raises ModelError,
    naming the file as ``name``."""
    file = _File(data, name)
    magic, _, count = file.numbers("QQQ")
    if magic != _LIST_MAGIC:
        raise file.error(f"no file of MXNet arrays: it begins with {magic:#x}")
    if count > _MAX_ARRAYS:
        raise file.error(f"{count} arrays; a model has fewer than {_MAX_ARRAYS}")
    values = [file.array(f"array {number} of {count}") for number in range(count)]
    if (names := file.number("Q")) != count:
        raise file.error(f"{count} arrays and {names} names")
    arrays: Arrays = {}
    for value in values:
        size = file.number("Q")
        start = file.skip(size)
        try:
            key = data[start : start + size].decode()
        except UnicodeDecodeError:
            raise file.error(f"the name {data[start : start + 40]!r} is not UTF-8") from None
        if key in arrays:
            raise file.error(f"two arrays are named {key[:80]!r}")
        arrays[key] = value
    if file.position != len(data):
        raise file.error(f"{len(data) - file.position} bytes follow the last name")
    return arrays


def write_arrays(arrays: Mapping[str, Array]) -> bytes:
    """A ``.params`` file as MXNet 1.9.1 writes it from the CPU. Raises ModelError for a dtype or
    a shape that MXNet has not."""
    parts = [struct.pack("<QQQ", _LIST_MAGIC, 0, len(arrays))]
    for name, array in arrays.items():
        code = _CODES.get(array.dtype.newbyteorder("<"))
        if code is None or not array.size or not array.ndim:
            raise ModelError(f"{name}: no array of {array.dtype} {array.shape} in MXNet's files")
        parts.append(struct.pack("<Iii", _V2, 0, array.ndim))
        parts.append(struct.pack(f"<{array.ndim}q", *array.shape))
        parts.append(struct.pack("<iii", 1, 0, code))
        parts.append(array.astype(_DTYPES[code], copy=False).tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        encoded = name.encode()
        parts += (struct.pack("<Q", len(encoded)), encoded)
    return b"".join(parts)


class _Node(msgspec.Struct):
    op: str
    name: str
    inputs: list[list[int]]
    attrs: dict[str, str] = {}
    attr: dict[str, str] = {}
    param: dict[str, str] = {}


class _Graph(msgspec.Struct):
    nodes: list[_Node]
    heads: list[list[int]]
    attrs: dict[str, tuple[str, int]] = {}


def read_symbol(data: bytes, name: str) -> Symbol:
    """The graph of a symbol file, as MXNet 1.9.1 sees it. Raises ModelError, naming the file as
    ``name``."""
    if len(data) > _MAX_GRAPH:
        raise ModelError(f"{name}: {len(data)} bytes; no graph has more than {_MAX_GRAPH}")
    try:
        graph = msgspec.json.decode(data, type=_Graph)
        heads = [_entry(head) for head in graph.heads]
        nodes = [
            Node(
                node.op,
                node.name,
                node.param | node.attr | node.attrs,
                tuple(_entry(entry) for entry in node.inputs),
            )
            for node in graph.nodes
        ]
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: no graph of MXNet: {error}") from None
    if not heads:
        raise ModelError(f"{name}: a graph without heads")
    _, version = graph.attrs.get("mxnet_version", ("int", 800))
    if version < 900:
        _add_auxiliary(nodes)
    symbol = in_order(nodes, heads, name)
    variables = Counter(node.name for node in symbol.nodes if node.op == "null")
    for one, count in variables.most_common(1):
        if count > 1:
            raise ModelError(f"{name}: {count} variables are named {one[:80]!r}")
    return Symbol(_hidden(symbol.nodes), symbol.heads, max(version, 905))


def _entry(numbers: list[int]) -> tuple[int, int]:
    if len(numbers) not in (2, 3) or numbers[1] < 0:
        raise ValueError(f"{str(numbers)[:80]} stands for an output of a node")
    return numbers[0], numbers[1]


def _add_auxiliary(nodes: list[Node]) -> None:
    """Before 0.9.0 the moving means and variances were not among a node's inputs."""
    for place, node in enumerate(nodes):
        inputs = node.inputs
        for argument in INPUTS.get(node.op, ())[len(inputs) :] if node.op in CHANGED else ():
            inputs += ((len(nodes), 0),)
            nodes.append(Node("null", f"{node.name}_{argument}", node.attrs))
        nodes[place] = node._replace(inputs=inputs)


_HIDDEN = ("ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage")


def _hidden(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """``lr_mult`` is ``__lr_mult__``, and ``weight_lr_mult`` that of the input ``weight``."""
    attrs = [dict(node.attrs) for node in nodes]
    for place, node in enumerate(nodes):
        for key, value in node.attrs.items():
            kind = next((one for one in _HIDDEN if key.endswith(one)), None)
            if kind is None:
                continue
            argument = key.removesuffix(kind).rstrip("_")
            names = INPUTS.get(node.op, ())
            if key == kind:
                there = place
            elif argument in names and names.index(argument) < len(node.inputs):
                there = node.inputs[names.index(argument)][0]
                if nodes[there].op != "null":
                    continue
            else:
                continue
            del attrs[place][key]
            attrs[there][f"__{kind}__"] = value
    return tuple(node._replace(attrs=one) for node, one in zip(nodes, attrs, strict=True))


def write_symbol(symbol: Symbol) -> bytes:
    """A symbol file that MXNet 1.9.1 loads."""
    nodes = []
    for node in symbol.nodes:
        changed = CHANGED.get(node.op, ())
        nodes.append(
            {"op": node.op, "name": node.name}
            | ({"attrs": dict(sorted(node.attrs.items()))} if node.attrs else {})
            | {"inputs": [[*entry, int(at in changed)] for at, entry in enumerate(node.inputs)]}
        )
    graph = {
        "nodes": nodes,
        "arg_nodes": [place for place, node in enumerate(symbol.nodes) if node.op == "null"],
        "heads": [[*head, 0] for head in symbol.heads],
        "attrs": {"mxnet_version": ["int", symbol.version]},
    }
    return json.dumps(graph, indent=1).encode()
