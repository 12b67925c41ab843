"""The shapes of a graph's parameters, as MXNet infers them."""

from __future__ import annotations

from ..errors import ModelError
from .symbols import CHANGED, INPUTS, Node, Symbol

KEEP_SHAPE = frozenset(
    ("BatchNorm", "Activation", "L2Normalization", "Dropout", "_copy", "identity", "elemwise_add",
     "_plus", "_Plus", "broadcast_add", "broadcast_mul", "BlockGrad")
)  # fmt: skip
"""Operators whose result has the shape of their last input that is no parameter."""

Size = tuple[int, int, int]
"""Channels, height, width."""


def parameter_shapes(symbol: Symbol, image_shape: int = 512) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter, under its name in a file, ``arg:conv0_weight``; arguments
    first, then auxiliary states. The size of the image changes none of them, but raises ModelError
    where a map would be empty."""
    sizes: dict[int, Size] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for place, node in enumerate(symbol.nodes):
        if node.name == "data" and node.op == "null":
            sizes[place] = (3, image_shape, image_shape)
        elif node.op == "null" and "__shape__" in node.attrs:
            shapes[place] = node.integers("__shape__", least=1)
        known = [sizes[entry[0]] for entry in node.inputs if entry[0] in sizes]
        if node.op in INPUTS and (len(known) != 1 or node.inputs[0][0] not in sizes):
            raise ModelError(f"node {node.name[:80]!r} ({node.op}) has no map as its only data")
        if node.op == "BatchNorm" and len(node.inputs) != len(INPUTS[node.op]):
            raise ModelError(f"node {node.name[:80]!r} (BatchNorm) has {len(node.inputs)} inputs")
        if node.op == "Convolution":
            sizes[place] = _convolved(node, known[0], shapes)
        elif node.op == "Pooling" and known:
            sizes[place] = _pooled(node, known[0])
        elif node.op == "Concat" and known and len(known) == len(node.inputs):
            sizes[place] = (sum(size[0] for size in known), *known[0][1:])
        elif node.op in KEEP_SHAPE and known:
            sizes[place] = known[-1]
            if node.op == "BatchNorm":
                for entry in node.inputs[1:]:
                    shapes[entry[0]] = known[0][:1]
    changed = {node.inputs[at][0] for node in symbol.nodes for at in CHANGED.get(node.op, ())
               if at < len(node.inputs)}  # fmt: skip
    names = {place: symbol.nodes[place].name for place in sorted(shapes)}
    return {f"arg:{name}": shapes[at] for at, name in names.items() if at not in changed} | {
        f"aux:{name}": shapes[at] for at, name in names.items() if at in changed
    }


def _convolved(node: Node, size: Size, shapes: dict[int, tuple[int, ...]]) -> Size:
    channels, *sides = size
    kernel = node.pair("kernel", "")
    width, groups = node.integers("num_filter", least=1)[0], node.integers("num_group", "1", 1)[0]
    dilate = node.pair("dilate", "1, 1")
    wide = (dilate[0] * (kernel[0] - 1) + 1, dilate[1] * (kernel[1] - 1) + 1)
    parameters = ((width, channels // groups, *kernel), (width,))
    if len(node.inputs) != 3 - node.flag("no_bias") or channels % groups or width % groups:
        raise ModelError(f"node {node.name[:80]!r} (Convolution): its inputs don't fit together")
    for entry, shape in zip(node.inputs[1:], parameters, strict=False):
        shapes[entry[0]] = shape
    return width, *_shrunk(node, (sides[0], sides[1]), wide, full=False)


def _pooled(node: Node, size: Size) -> Size:
    channels, height, width = size
    if node.flag("global_pool"):
        return channels, 1, 1
    full = node.attrs.get("pooling_convention", "valid") == "full"
    return channels, *_shrunk(node, (height, width), node.pair("kernel", ""), full)


def _shrunk(
    node: Node, sides: tuple[int, int], kernel: tuple[int, int], full: bool
) -> tuple[int, int]:
    """Height and width after a window has gone over a map."""
    found = []
    pads, strides = node.pair("pad", "0, 0", 0), node.pair("stride", "1, 1")
    for side, wide, pad, stride in zip(sides, kernel, pads, strides, strict=True):
        room = side + 2 * pad - wide
        if pad * 2 >= wide:
            raise node.error("pad")  # a map that grows could take all memory
        if room < 0:
            raise ModelError(f"node {node.name[:80]!r} ({node.op}): the image is too small for it")
        found.append((room + (stride - 1) * full) // stride + 1)
    return found[0], found[1]
