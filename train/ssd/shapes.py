"""The shapes in a graph, as MXNet infers them; those of maps are without the images' number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import ModelError
from .symbols import INPUTS, Node, Symbol

Shape = tuple[int, ...]
Pair = tuple[int, int]

ADDITIONS = ("elemwise_add", "_plus", "_Plus", "broadcast_add")
COPIES = ("_copy", "identity", "BlockGrad")
_PLAIN = (*COPIES, "Activation", "L2Normalization", "Dropout")
_KEEPING = (*_PLAIN, "BatchNorm")
_MOST_VALUES = 1 << 30
"""Of a node for an image: what vgg-16 has with 4,096 x 4,096 pixels."""
_ONE_INPUT = (*_PLAIN, "Pooling", "transpose", "Flatten", "Reshape", "_contrib_MultiBoxPrior")


def infer(symbol: Symbol, image_shape: int = 512) -> dict[int, Shape]:
    """The shape of each node's first output, by its place, where it can be told without labels:
    of parameters as they are in files, of others without the images' number. Raises ModelError
    where parts don't fit together or the image is too small."""
    shapes: dict[int, Shape] = {}
    for place, node in enumerate(symbol.nodes):
        if node.op == "null":
            if node.name == "data":
                shapes[place] = (3, image_shape, image_shape)
            elif "__shape__" in node.attrs:
                shapes[place] = node.integers("__shape__", least=1)
            continue
        sources = [entry[0] for entry in node.inputs]
        if node.op in INPUTS and sources and sources[0] in shapes:
            if len(sources) != len(INPUTS[node.op]) - (
                node.op == "Convolution" and node.flag("no_bias")
            ):
                raise _unfit(node)
            parameters = _parameters(node, shapes[sources[0]])
            for source, shape in zip(sources[1:], parameters, strict=False):
                if symbol.nodes[source].op != "null" or shapes.setdefault(source, shape) != shape:
                    raise _unfit(node)
        if sources and all(source in shapes for source in sources):
            result = _result(node, [shapes[source] for source in sources])
            if result is not None:
                if math.prod(result) > _MOST_VALUES:
                    raise ModelError(f"node {node.name[:80]!r} ({node.op}): {result} is too large")
                shapes[place] = result
    return shapes


def parameter_shapes(symbol: Symbol, image_shape: int = 512) -> dict[str, Shape]:
    """The shape of each parameter, under its name in a file, ``arg:conv0_weight``: arguments
    first, then auxiliary states. No size of the image changes any; ModelError as of ``infer``."""
    changed = symbol.changed()
    shapes = infer(symbol, image_shape)
    found: tuple[dict[str, Shape], dict[str, Shape]] = ({}, {})
    for place, node in enumerate(symbol.nodes):
        if node.op == "null" and node.name != "data" and place in shapes:
            kind = place in changed
            found[kind][f"{'aux' if kind else 'arg'}:{node.name}"] = shapes[place]
    return found[0] | found[1]


def _unfit(node: Node) -> ModelError:
    return ModelError(f"node {node.name[:80]!r} ({node.op}): its inputs don't fit together")


def _parameters(node: Node, data: Shape) -> list[Shape]:
    """Of a node's inputs but the first."""
    if node.op == "BatchNorm":
        return [data[:1]] * 4
    width, groups = node.integers("num_filter", least=1)[0], node.integers("num_group", "1", 1)[0]
    if len(data) != 3 or data[0] % groups or width % groups:
        raise _unfit(node)
    return [(width, data[0] // groups, *node.pair("kernel", "")), (width,)]


def _result(node: Node, inputs: Sequence[Shape]) -> Shape | None:
    first = inputs[0]
    if node.op in _ONE_INPUT and len(inputs) != 1:
        raise _unfit(node)
    if node.op in _KEEPING:
        return first
    if node.op == "Convolution":
        kernel, dilate = node.pair("kernel", ""), node.pair("dilate", "1, 1")
        wide = (dilate[0] * (kernel[0] - 1) + 1, dilate[1] * (kernel[1] - 1) + 1)
        return inputs[1][0], *_shrunk(node, first, wide, full=False)
    if node.op == "Pooling":
        if node.flag("global_pool") and len(first) == 3:
            return first[0], 1, 1
        full = node.attrs.get("pooling_convention", "valid") == "full"
        return first[0], *_shrunk(node, first, node.pair("kernel", ""), full)
    if node.op in ADDITIONS and len(inputs) == 2 and first == inputs[1]:
        return first
    if node.op == "broadcast_mul" and len(inputs) == 2:
        scale, data = sorted((one[-3:] for one in inputs), key=math.prod)
        if len(scale) == len(data) == 3 and all(
            a in (1, b) for a, b in zip(scale, data, strict=True)
        ):
            return data
    if node.op == "Flatten":
        return (math.prod(first),)
    if node.op == "transpose":
        axes = node.integers("axes", least=0)
        if axes[0] == 0 and sorted(axes) == list(range(len(first) + 1)):
            return tuple(first[axis - 1] for axis in axes[1:])
    if node.op == "Reshape":
        return _reshaped(node, first)
    if node.op == "Concat":
        axis = node.integers("dim", "1", 1)[0] - 1
        rest = {(*one[:axis], 0, *one[axis + 1 :]) for one in inputs if axis < len(one)}
        if len(rest) == 1 and all(axis < len(one) for one in inputs):
            return (*first[:axis], sum(one[axis] for one in inputs), *first[axis + 1 :])
    if node.op == "_contrib_MultiBoxPrior" and len(first) == 3:
        each = len(node.numbers("sizes", "1")) + len(node.numbers("ratios", "1")) - 1
        return first[1] * first[2] * each, 4
    if node.op in (*ADDITIONS, "broadcast_mul", "transpose", "Concat", "_contrib_MultiBoxPrior"):
        raise _unfit(node)
    return None


def _reshaped(node: Node, data: Shape) -> Shape:
    codes = node.integers("shape", least=-1)
    if codes[0] != 0 or codes.count(-1) > 1 or any(
        code == 0 and at > len(data) for at, code in enumerate(codes)
    ):  # fmt: skip
        raise node.error("shape")
    shape = [code or data[at] for at, code in enumerate(codes[1:])]
    size, known = math.prod(data), math.prod(side for side in shape if side > 0)
    shape = [size // known if side < 0 else side for side in shape]
    if math.prod(shape) != size:
        raise _unfit(node)
    return tuple(shape)


def _shrunk(node: Node, data: Shape, kernel: Pair, full: bool) -> Pair:
    """Height and width after a window has gone over a map."""
    if len(data) != 3:
        raise _unfit(node)
    found = []
    pads, strides = node.pair("pad", "0, 0", 0), node.pair("stride", "1, 1")
    for side, wide, pad, stride in zip(data[1:], kernel, pads, strides, strict=True):
        room = side + 2 * pad - wide
        if pad * 2 >= wide:
            raise node.error("pad")  # a map that grows could take all memory
        if room < 0:
            raise ModelError(f"node {node.name[:80]!r} ({node.op}): the image is too small for it")
        found.append((room + (stride - 1) * full) // stride + 1)
        if (found[-1] - 1) * stride >= side + pad:
            raise node.error("stride")  # its last window would see nothing
    return found[0], found[1]
