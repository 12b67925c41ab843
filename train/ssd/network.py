"""The graphs that SageMaker trains, node for node, their first weights, and what they expect.

The ancestor is mxnet-ssd of Joshua Z. Zhang (MIT), as a model that SageMaker wrote shows: the
second size of each anchor is the exact geometric mean, and biases learn at twice the rate.
Networks: VGG-16 with its last layers as convolutions (Liu and others, SSD, 2016), and ResNet with
pre-activation (He and others, Identity Mappings, 2016), of 50 or 18 layers.

The resnets' graphs are the same for every size of image; vgg-16's has seven maps from 448 on, and
SSD300's six from 300 on. Below 300, where SageMaker has nothing, its six maps shrink as the large
graph's do, so that the last is never empty; no network loses a map and the sizes of its anchors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ModelError
from .mxnet_files import Arrays
from .shapes import parameter_shapes
from .symbols import INPUTS, Node, Symbol, in_order

NETWORKS = ("vgg-16", "resnet-50", "resnet-18")
IMAGE_MEAN = (123.0, 117.0, 104.0)
"""Of the three channels of photographs, RGB."""

_RATIOS = ("1,2,0.5", "1,2,0.5,3,0.333333333333")
_VARIANCES = "(0.1, 0.1, 0.2, 0.2)"
Entry = tuple[int, int]


class _Builder:
    """Nodes in the order in which they are made. An attribute's value is written as MXNet's
    Python interface writes it, by ``str``."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.counts: dict[str, int] = {}

    def node(self, op: str, name: str, *inputs: Entry, **attrs: Any) -> Entry:
        texts = {key: str(value) for key, value in attrs.items()}
        self.nodes.append(Node(op, name, texts, inputs))
        return len(self.nodes) - 1, 0

    def unnamed(self, op: str, hint: str, *inputs: Entry, **attrs: Any) -> Entry:
        """MXNet numbers the nodes without a name."""
        number = self.counts.get(hint, 0)
        self.counts[hint] = number + 1
        return self.node(op, f"{hint}{number}", *inputs, **attrs)

    def variable(self, name: str, **attrs: Any) -> Entry:
        return self.node("null", name, **{f"__{key}__": value for key, value in attrs.items()})

    def convolution(self, name: str, data: Entry, *bias: Entry, **attrs: Any) -> Entry:
        """Its variables repeat its attributes, but for a ``bias`` that is given."""
        inputs = [self.node("null", f"{name}_weight", **attrs), *bias]
        if not bias and "no_bias" not in attrs:
            inputs.append(self.node("null", f"{name}_bias", **attrs))
        return self.node("Convolution", name, data, *inputs, **attrs)

    def slow_start(self, name: str, data: Entry, **attrs: Any) -> Entry:
        """A convolution of the detector: its bias begins at 0 and learns at twice the rate."""
        bias = self.variable(f"{name}_bias", init='["constant", {"value": 0.0}]', lr_mult=2.0)
        return self.convolution(name, data, bias, **attrs)

    def batch_norm(self, name: str, data: Entry, fix_gamma: bool = False) -> Entry:
        attrs = {"eps": 2e-5, "fix_gamma": fix_gamma, "momentum": 0.9}
        first = {"moving_mean": '["zero", {}]', "moving_var": '["one", {}]'}
        inputs = [
            self.node(
                "null", f"{name}_{part}", **attrs,
                **({"__init__": first[part]} if part in first else {}),
            )
            for part in INPUTS["BatchNorm"][1:]
        ]  # fmt: skip
        return self.node("BatchNorm", name, data, *inputs, **attrs)

    def relu(self, name: str, data: Entry) -> Entry:
        return self.node("Activation", name, data, act_type="relu")

    def flat(self, data: Entry) -> Entry:
        """The channels last, then one row for each image."""
        last = self.unnamed("transpose", "transpose", data, axes=(0, 2, 3, 1))
        return self.unnamed("Flatten", "flatten", last)


def build(
    base_network: str,
    num_classes: int,
    image_shape: int,
    *,
    nms_threshold: float = 0.45,
    nms_topk: int = 400,
) -> Symbol:
    """The graph for training: inputs ``data`` (N, 3, image_shape, image_shape) and ``label``;
    heads ``cls_prob``, ``loc_loss``, ``cls_label`` and ``det_out``. Raises ModelError for a
    network that is none of ``NETWORKS``."""
    build = _Builder()
    first, last = 0.2, 0.9
    if base_network == "vgg-16":
        scale = build.variable(
            "relu4_3_scale", init='["constant", {"value": 20}]', shape=(1, 512, 1, 1), wd_mult=0.1
        )
        features = _vgg16(build)
        large = image_shape >= 448
        first = 0.15 if large else first
        exact = 300 <= image_shape < 448
        filters = [512, 256, 256, 256, 256] if large else [512, 256, 256, 256]
        strides = [2, 2, 2, 2, 1] if large else [2, 2, 1, 1] if exact else [2, 2, 2, 2]
        pads = [1, 1, 0, 0] if exact else [1] * len(filters)
        shrinks = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}
    elif base_network in NETWORKS:
        scale = None
        features = _resnet(build, (3, 4, 6, 3) if base_network == "resnet-50" else (2, 2, 2, 2))
        filters, strides, pads, shrinks = [512, 256, 256, 128], [2] * 4, [1] * 4, {}
    else:
        raise ModelError(f"base_network {base_network!r}; one of {', '.join(NETWORKS)}")
    for number, (count, stride, pad) in enumerate(zip(filters, strides, pads, strict=True), 2):
        data = features[-1]
        for kernel, width, step, border in (1, max(128, count // 2), 1, 0), (3, count, stride, pad):
            name = f"multi_feat_{number}_conv_{kernel}x{kernel}"
            data = build.slow_start(
                f"{name}_conv", data, kernel=(kernel, kernel), pad=(border, border),
                stride=(step, step), num_filter=width,
            )  # fmt: skip
            data = build.relu(f"{name}_relu", data)
        features.append(data)
    build.counts["flatten"] = 1  # the classifier, which the features don't need, has the first
    steps = [(shrink / image_shape,) * 2 for shrink in shrinks.get(image_shape, ())]
    predicted = _heads(build, features, scale, num_classes + 1, _sizes(first, last, len(features)),
                       steps or [(-1.0, -1.0)] * len(features))  # fmt: skip
    return in_order(build.nodes, _losses(build, *predicted, nms_threshold, nms_topk))


def _vgg16(build: _Builder) -> list[Entry]:
    data = build.node("null", "data")
    for group, (count, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for number in range(1, count + 1):
            name = f"{group}_{number}"
            data = build.convolution(
                f"conv{name}", data, kernel=(3, 3), num_filter=width, pad=(1, 1)
            )
            data = build.relu(f"relu{name}", data)
        if group == 4:
            features = [data]
        kind = {"kernel": (2, 2), "pool_type": "max", "stride": (2, 2)}
        kind |= {"pooling_convention": "full"} if group == 3 else {}
        kind |= {"kernel": (3, 3), "pad": (1, 1), "stride": (1, 1)} if group == 5 else {}
        data = build.node("Pooling", f"pool{group}", data, **kind)
    data = build.convolution("fc6", data, dilate=(6, 6), kernel=(3, 3), num_filter=1024, pad=(6, 6))
    data = build.relu("relu6", data)
    data = build.convolution("fc7", data, kernel=(1, 1), num_filter=1024, pad=(0, 0))
    return [*features, build.relu("relu7", data)]


def _resnet(build: _Builder, units: Sequence[int]) -> list[Entry]:
    def convolution(name: str, data: Entry, side: int, stride: int, width: int) -> Entry:
        pad = {} if name.endswith("_sc") else {"pad": (side // 2, side // 2)}
        return build.convolution(
            name, data, kernel=(side, side), no_bias=True, num_filter=width, stride=(stride,) * 2,
            workspace=256, **pad,
        )  # fmt: skip

    deep = sum(units) > 8
    data = build.node("_copy", "id", build.node("null", "data"))
    data = build.batch_norm("bn_data", data, fix_gamma=True)
    data = convolution("conv0", data, 7, 2, 64)
    data = build.relu("relu0", build.batch_norm("bn0", data))
    data = build.unnamed("Pooling", "pooling", data, kernel=(3, 3), pad=(1, 1), pool_type="max",
                         stride=(2, 2))  # fmt: skip
    ends = []
    for stage, count in enumerate(units, 1):
        narrow = 32 << stage
        width = narrow * 4 if deep else narrow
        sides = (1, 3, 1) if deep else (3, 3)
        for unit in range(1, count + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if unit == 1 < stage else 1
            shortcut = data
            for layer, side in enumerate(sides, 1):
                data = build.relu(
                    f"{name}_relu{layer}", build.batch_norm(f"{name}_bn{layer}", data)
                )
                if unit == layer == 1:
                    shortcut = convolution(f"{name}_sc", data, 1, stride, width)
                data = convolution(
                    f"{name}_conv{layer}", data, side,
                    stride if layer == len(sides) - 1 else 1,
                    width if layer == len(sides) else narrow,
                )  # fmt: skip
            data = build.unnamed("elemwise_add", "_plus", data, shortcut)
        ends.append(data)
    return ends[-2:]


def _sizes(first: float, last: float, count: int) -> list[str]:
    """Two sizes for each map, as parts of the image: its own, and the geometric mean of that and
    the next map's. Whole hundredths, as in the first SSD."""
    low, high = round(first * 100), round(last * 100)
    step = (high - low) // (count - 2)
    edges = [low // 2, *range(low, low + count * step, step)]
    return [f"({a / 100},{math.sqrt(a * b) / 100:.6g})" for a, b in pairwise(edges)]


def _heads(
    build: _Builder, features: Sequence[Entry], scale: Entry | None, classes: int,
    sizes: Sequence[str], steps: Sequence[tuple[float, float]],
) -> tuple[Entry, Entry, Entry]:  # fmt: skip
    """Locations, logits and anchors of all maps together."""
    found: tuple[list[Entry], list[Entry], list[Entry]] = ([], [], [])
    for number, (data, size, step) in enumerate(zip(features, sizes, steps, strict=True)):
        name = build.nodes[data[0]].name
        ratios = _RATIOS[0 < number < len(features) - 2]
        anchors = ratios.count(",") + 2
        if name == "relu4_3" and scale is not None:
            data = build.node("L2Normalization", f"{name}_norm", data, mode="channel")
            data = build.unnamed("broadcast_mul", "broadcast_mul", scale, data)
        for part, kind, each in ((found[0], "loc", 4), (found[1], "cls", classes)):
            part.append(
                build.flat(
                    build.slow_start(
                        f"{name}_{kind}_pred_conv", data, kernel=(3, 3), pad=(1, 1), stride=(1, 1),
                        num_filter=anchors * each,
                    )
                )
            )  # fmt: skip
        boxes = build.node(
            "_contrib_MultiBoxPrior", f"{name}_anchors", data, clip=False, ratios=f"({ratios})",
            sizes=size, steps=step,
        )  # fmt: skip
        found[2].append(build.unnamed("Flatten", "flatten", boxes))
    together = {"dim": 1, "num_args": len(features)}
    locations = build.node("Concat", "multibox_loc_pred", *found[0], **together)
    logits = build.unnamed("Concat", "concat", *found[1], **together)
    logits = build.unnamed("Reshape", "reshape", logits, shape=(0, -1, classes))
    logits = build.node("transpose", "multibox_cls_pred", logits, axes=(0, 2, 1))
    boxes = build.unnamed("Concat", "concat", *found[2], **together)
    return locations, logits, build.node("Reshape", "multibox_anchors", boxes, shape=(0, -1, 4))


def _losses(
    build: _Builder, locations: Entry, logits: Entry, anchors: Entry, nms_threshold: float,
    nms_topk: int,
) -> list[Entry]:  # fmt: skip
    target, _ = build.node(
        "_contrib_MultiBoxTarget", "multibox_target", anchors, build.node("null", "label"), logits,
        ignore_label=-1, minimum_negative_samples=0, negative_mining_ratio=3,
        negative_mining_thresh=0.5, overlap_threshold=0.5, variances=_VARIANCES,
    )  # fmt: skip
    probabilities = build.node(
        "SoftmaxOutput", "cls_prob", logits, (target, 2), grad_scale=1.0, ignore_label=-1,
        multi_output=True, normalization="valid", use_ignore=True,
    )  # fmt: skip
    distance = build.unnamed("elemwise_sub", "_minus", locations, (target, 0))
    distance = build.unnamed("elemwise_mul", "_mul", (target, 1), distance)
    loss = build.node("smooth_l1", "loc_loss_", distance, scalar=1.0)
    detection = build.node(
        "_contrib_MultiBoxDetection", "detection", probabilities, locations, anchors,
        force_suppress=False, nms_threshold=nms_threshold, nms_topk=nms_topk, variances=_VARIANCES,
    )  # fmt: skip
    return [
        probabilities,
        build.node("MakeLoss", "loc_loss", loss, grad_scale=1.0, normalization="valid"),
        build.node("MakeLoss", "cls_label", (target, 2), grad_scale=0),
        build.node("MakeLoss", "det_out", detection, grad_scale=0),
    ]


def initial_arrays(symbol: Symbol, image_shape: int, random: np.random.Generator) -> Arrays:
    """First weights, float32, under their names in a file: Xavier's for convolutions (uniform,
    magnitude 3), else what the graph's variables say, or 1 for gammas and variances and 0 for the
    rest. The images' own mean and variance are taken for known, so that ``mean_of`` is sure from
    the first step. Raises ModelError for images too small for the graph."""
    said = {node.name: node.attrs.get("__init__", "") for node in symbol.nodes if node.op == "null"}
    mean, variance = _images_norm(symbol)
    arrays: Arrays = {}
    for key, shape in parameter_shapes(symbol, image_shape).items():
        name = key.partition(":")[2]
        kind, options = json.loads(said[name] or '["", {}]')
        if key == mean:
            array = np.array(IMAGE_MEAN)
        elif key == variance:
            array = np.full(shape, 58.0**2)
        elif kind == "constant":
            array = np.full(shape, options["value"])
        elif name.endswith("_weight"):
            area = math.prod(shape[2:])
            bound = math.sqrt(3 / ((shape[0] + shape[1]) * area / 2))
            array = random.uniform(-bound, bound, shape)
        else:
            array = np.full(shape, float(name.endswith(("_gamma", "_moving_var"))))
        arrays[key] = array.astype(np.float32)
    return arrays


def _images_norm(symbol: Symbol) -> tuple[str, str]:
    """The arrays' names of mean and variance of the BatchNorm that the images meet first, if they
    meet one."""
    images = {place for place, node in enumerate(symbol.nodes) if node.name == "data"}
    for place, node in enumerate(symbol.nodes):
        if not node.inputs or node.inputs[0][0] not in images:
            continue
        if node.op in ("_copy", "identity"):
            images.add(place)
        elif node.op == "BatchNorm" and len(node.inputs) == len(INPUTS[node.op]):
            mean, variance = (symbol.nodes[entry[0]].name for entry in node.inputs[3:])
            return f"aux:{mean}", f"aux:{variance}"
    return "", ""


def mean_of(symbol: Symbol, arrays: Arrays) -> tuple[float, float, float]:
    """What is subtracted from RGB 0–255 before the graph. Nothing where its first BatchNorm has
    learnt the images' mean, as in SageMaker's resnet-50, else the mean of photographs."""
    mean = arrays.get(_images_norm(symbol)[0])
    if mean is not None and float(mean.mean()) > sum(IMAGE_MEAN) / 6:
        return 0.0, 0.0, 0.0
    return IMAGE_MEAN
