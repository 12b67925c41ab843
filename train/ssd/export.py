"""A model as ONNX, with its detection in standard operators: any runtime gives what ``Detector``
gives.

The graph is translated node by node. Input ``images``: uint8 (N, 3, S, S), RGB, the whole image
resized to S x S; N is free. Outputs, K rows an image, the found ones first, by falling score:
``boxes`` float32 (N, K, 4) xmin, ymin, xmax, ymax in ratios, ``scores`` float32 (N, K), ``classes``
int64 (N, K); rows that are none have class -1, score 0 and box 0. The names of the classes are in
the model's metadata, ``classes``, as JSON. The same model gives the same bytes.

Source of the operators: https://onnx.ai/onnx/operators, opset 17.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import InferenceError

from ..errors import ModelError, SpecError
from ..files import replace
from .detector import Detector, side_of
from .shapes import Shape, infer
from .symbols import Node, in_order

if TYPE_CHECKING:
    from ..service import Service
    from .artifact import Model

_OPSET, _IR = 17, 8


def export(
    place: str | Path, output: str | Path, classes: Sequence[str] | None = None,
    service: Service | None = None,
) -> Sequence[str] | None:  # fmt: skip
    """Write what ``read_model`` takes as an ``.onnx`` file, whole or not at all. Returns the names
    of the classes. Raises ModelError, SpecError for another number of ``classes``."""
    from .serving import read

    model, known = read(place, service)
    replace(output, to_onnx(model, classes or known))
    return classes or known


def to_onnx(model: Model, classes: Sequence[str] | None = None) -> bytes:
    """The bytes of the ONNX file. Raises as ``export``."""
    detector = Detector(model, device="cpu")
    if classes is not None and len(classes) != detector.num_classes:
        raise SpecError(
            f"classes: {len(classes)} names, and the model has {detector.num_classes} classes"
        )
    writer = _Writer(model.arrays)
    side = detector.image_shape
    probabilities, locations, detection = writer.network(model, detector.mean)
    with torch.inference_mode():
        anchors = detector.graph(torch.zeros(1, 3, side, side)).anchors.numpy()
    results = _detect(writer, detection, probabilities, locations, anchors, detector.num_classes)
    used = {name for node in writer.nodes for name in node.input}
    graph = helper.make_graph(
        writer.nodes, "ssd",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, side, side])],
        [
            helper.make_tensor_value_info(name, kind, ["N", results, *rest])
            for name, kind, rest in (
                ("boxes", TensorProto.FLOAT, [4]), ("scores", TensorProto.FLOAT, []),
                ("classes", TensorProto.INT64, []),
            )
        ],
        [one for one in writer.constants if one.name in used],
    )  # fmt: skip
    found = helper.make_model(
        graph, producer_name="recpack", ir_version=_IR,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )  # fmt: skip
    if classes is not None:
        helper.set_model_props(found, {"classes": json.dumps(list(classes))})
    try:
        onnx.checker.check_model(found, full_check=True)
    except (onnx.checker.ValidationError, InferenceError) as error:
        raise ModelError(f"no ONNX file can be made of it: {error}") from error
    return bytes(found.SerializeToString(deterministic=True))


class _Writer:
    """Nodes and constants of an ONNX graph that grows."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._arrays = arrays
        self.shapes: dict[str, Shape] = {}

    def op(self, kind: str, *inputs: str, name: str = "", **attrs: Any) -> str:
        """Add a node; the name of its output."""
        return self.several(1, kind, *inputs, name=name, **attrs)[0]

    def several(
        self, outputs: int, kind: str, *inputs: str, name: str = "", **attrs: Any
    ) -> list[str]:
        """Add a node; the names of its outputs."""
        name = name or f"{kind}_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, inputs, names, name, **attrs))
        return names

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        return self._add(np.asarray(values, dtype), f"constant_{len(self.constants)}")

    def _add(self, values: npt.NDArray[Any], name: str) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def variable(self, node: Node) -> str:
        """A parameter of the model, float32."""
        for kind in ("arg", "aux"):
            if (found := self._arrays.get(f"{kind}:{node.name}")) is not None:
                return self._add(found.astype(np.float32), f"{kind}:{node.name}")
        raise ModelError(f"{node.name[:80]!r}: there is no array of this name")

    def network(self, model: Model, mean: tuple[float, ...]) -> tuple[str, str, Node]:
        """Probabilities and locations from the input ``images``, and the node that detects."""
        nodes = model.symbol.nodes
        (detection,) = (node for node in nodes if node.op == "_contrib_MultiBoxDetection")
        (scores, _), locations, _ = detection.inputs
        symbol = in_order(nodes, [nodes[scores].inputs[0], locations])
        shapes = infer(symbol, side_of(model))
        self.shapes = {symbol.nodes[place].name: shape for place, shape in shapes.items()}
        images = self.op("Cast", "images", to=TensorProto.FLOAT)
        if any(mean):
            images = self.op("Sub", images, self.constant(np.reshape(mean, (1, 3, 1, 1))))
        values: list[str] = []
        for node in symbol.nodes:
            inputs = [values[place] for place, _ in node.inputs]
            if node.op == "null":
                values.append(images if node.name == "data" else self.variable(node))
            else:
                values.append(_TRANSLATIONS[node.op](self, node, inputs))
        logits, places = (values[place] for place, _ in symbol.heads)
        return self.op("Softmax", logits, axis=1), places, detection


def _convolution(writer: _Writer, node: Node, inputs: list[str]) -> str:
    pad = node.pair("pad", "0, 0", 0)
    return writer.op(
        "Conv", *inputs, name=node.name, kernel_shape=node.pair("kernel", ""), pads=pad * 2,
        strides=node.pair("stride", "1, 1"), dilations=node.pair("dilate", "1, 1"),
        group=node.integers("num_group", "1", 1)[0],
    )  # fmt: skip


def _batch_norm(writer: _Writer, node: Node, inputs: list[str]) -> str:
    data, gamma, *rest = inputs
    if node.flag("fix_gamma", True):  # whatever the file has
        values = next(numpy_helper.to_array(one) for one in writer.constants if one.name == gamma)
        gamma = writer.constant(np.ones(values.shape))
    eps = node.number("eps", "0.001")
    return writer.op("BatchNormalization", data, gamma, *rest, name=node.name, epsilon=eps)


def _activation(writer: _Writer, node: Node, inputs: list[str]) -> str:
    kinds = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus"}
    return writer.op(kinds[node.attrs["act_type"]], *inputs, name=node.name)


def _pooling(writer: _Writer, node: Node, inputs: list[str]) -> str:
    kind = {"max": "MaxPool", "avg": "AveragePool"}[node.attrs.get("pool_type", "max")]
    if node.flag("global_pool"):
        return writer.op(f"Global{kind}", *inputs, name=node.name)
    own = {"count_include_pad": int(node.flag("count_include_pad", True))} if kind[0] == "A" else {}
    return writer.op(
        kind, *inputs, name=node.name, kernel_shape=node.pair("kernel", ""),
        pads=node.pair("pad", "0, 0", 0) * 2, strides=node.pair("stride", "1, 1"),
        ceil_mode=int(node.attrs.get("pooling_convention") == "full"), **own,
    )  # fmt: skip


def _l2_normalization(writer: _Writer, node: Node, inputs: list[str]) -> str:
    (data,) = inputs
    total = writer.op("ReduceSum", writer.op("Mul", data, data), writer.constant([1], np.int64))
    total = writer.op("Add", total, writer.constant(node.number("eps", "1e-10")))
    return writer.op("Div", data, writer.op("Sqrt", total), name=node.name)


def _reshape(writer: _Writer, node: Node, inputs: list[str]) -> str:
    # a -1 can't be told from no images
    shape = writer.constant((0, *writer.shapes[node.name]), np.int64)
    return writer.op("Reshape", *inputs, shape, name=node.name)


def _plain(kind: str) -> Callable[[_Writer, Node, list[str]], str]:
    return lambda writer, node, inputs: writer.op(kind, *inputs, name=node.name)


_TRANSLATIONS: dict[str, Callable[[_Writer, Node, list[str]], str]] = {
    "Convolution": _convolution, "BatchNorm": _batch_norm, "Activation": _activation,
    "Pooling": _pooling, "L2Normalization": _l2_normalization, "Reshape": _reshape,
    "Flatten": _plain("Flatten"), "broadcast_mul": _plain("Mul"),
    "transpose": lambda writer, node, inputs: writer.op(
        "Transpose", *inputs, name=node.name, perm=node.integers("axes", least=0)
    ),
    "Concat": lambda writer, node, inputs: writer.op(
        "Concat", *inputs, name=node.name, axis=node.integers("dim", "1")[0]
    ),
    **dict.fromkeys(("elemwise_add", "_plus", "_Plus", "broadcast_add"), _plain("Add")),
    **dict.fromkeys(("_copy", "identity", "BlockGrad", "Dropout"), lambda _, __, inputs: inputs[0]),
}  # fmt: skip
"""For each operator that ``Graph`` knows, which refused the others and their attributes."""


def _detect(
    writer: _Writer, node: Node, probabilities: str, locations: str,
    anchors: npt.NDArray[np.float32], classes: int,
) -> int:  # fmt: skip
    """MultiBoxDetection as ``multibox.detection`` has it; how many rows there are. The best class
    of each anchor, the best of these, and suppression: TopK and NonMaxSuppression."""
    op, constant = writer.op, writer.constant
    top, limit = node.integers("nms_topk", "-1")[0], anchors.shape[1]
    overlap = node.number("nms_threshold", "0.5")
    top = min(top, limit) if top > 0 and 0 < overlap <= 1 else limit
    background = constant([1], np.int64), constant([classes + 1], np.int64), constant([1], np.int64)
    objects = op("Slice", probabilities, *background)
    score = op("ReduceMax", objects, axes=[1], keepdims=0)
    best = op("ArgMax", objects, axis=1, keepdims=0)
    score, order = writer.several(2, "TopK", score, constant([top], np.int64), axis=1)
    best = op("GatherElements", best, order, axis=1)
    corners = op("Unsqueeze", order, constant([2], np.int64))
    corners = op("Expand", corners, constant([1, 1, 4], np.int64))
    boxes = op("GatherElements", _boxes(writer, node, locations, anchors), corners, axis=1)
    live = op("GreaterOrEqual", score, constant(node.number("threshold", "0.01")))
    zero, one = constant(0.0), constant(1.0)
    score = op("Where", live, score, zero)
    kept = live
    if 0 < overlap <= 1:
        # the suppression compares with >, MXNet with >=
        overlap = float(np.nextafter(np.float32(overlap), np.float32(0)))
        each = op("Unsqueeze", score, constant([1], np.int64))
        if not node.flag("force_suppress"):
            ids = constant(np.arange(classes).reshape(1, -1, 1), np.int64)
            own = op("Equal", op("Unsqueeze", best, constant([1], np.int64)), ids)
            each = op("Where", own, each, zero)
        chosen = op(
            "NonMaxSuppression", boxes, each, constant([top], np.int64), constant([overlap]),
            constant([0.0]),
        )  # fmt: skip
        images_rows = op("Gather", chosen, constant([0, 2], np.int64), axis=1)
        count = op("Slice", op("Shape", chosen), *(constant([at], np.int64) for at in (0, 1)))
        nothing = op("Mul", score, zero)
        marks = op("ScatterND", nothing, images_rows, op("Expand", one, count))
        kept = op("Greater", marks, zero)
    score = op("Where", kept, score, zero)
    # what is kept goes to the front, in its order: TopK keeps the order of equals
    score, order = writer.several(2, "TopK", score, constant([top], np.int64), axis=1)
    kept = op("Unsqueeze", op("Greater", score, zero), constant([2], np.int64))
    corners = op("Unsqueeze", order, constant([2], np.int64))
    corners = op("Expand", corners, constant([1, 1, 4], np.int64))
    boxes = op("GatherElements", boxes, corners, axis=1)
    best = op("GatherElements", best, order, axis=1)
    op("Where", kept, boxes, zero, name="boxes")
    op("Identity", score, name="scores")
    op("Where", op("Greater", score, zero), best, constant(-1, np.int64), name="classes")
    return int(top)


def _boxes(writer: _Writer, node: Node, locations: str, anchors: npt.NDArray[np.float32]) -> str:
    """Locations (N, 4A) → boxes (N, A, 4)."""
    op, constant = writer.op, writer.constant
    low, high = anchors[..., :2], anchors[..., 2:]
    sizes, centres = constant(high - low), constant((low + high) / 2)
    moves = op("Reshape", locations, constant([0, anchors.shape[1], 4], np.int64))
    move, grow = writer.several(2, "Split", moves, axis=2)
    variances = node.numbers("variances", "0.1, 0.1, 0.2, 0.2")
    centre = op("Add", op("Mul", op("Mul", move, constant(variances[:2])), sizes), centres)
    half = op("Mul", op("Exp", op("Mul", grow, constant(variances[2:]))), sizes)
    half = op("Mul", half, constant(0.5))
    boxes = op("Concat", op("Sub", centre, half), op("Add", centre, half), axis=2)
    if node.flag("clip", True):
        boxes = op("Clip", boxes, constant(0.0), constant(1.0))
    return boxes
