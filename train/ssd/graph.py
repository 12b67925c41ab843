"""An SSD graph of MXNet as a module of PyTorch.

The parts are found by their places, not by their names: the node MultiBoxDetection says which
nodes give probabilities, locations and anchors. What these three need is computed; the loss nodes
of a graph for training only lend their attributes. Anchors depend on the maps' sizes alone, and
are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from . import multibox
from .losses import Losses
from .losses import losses as losses_of
from .mxnet_files import Arrays
from .operators import Function, function_of, wide
from .shapes import infer, parameter_shapes
from .symbols import Node, Symbol

_PROBABILITIES = ("SoftmaxOutput", "SoftmaxActivation", "softmax")
_MAX_SIZES = 16
"""Sizes of images whose anchors are kept."""

_VARIANCES = (0.1, 0.1, 0.2, 0.2)
_PRIOR: dict[str, Any] = {
    "sizes": (1.0,), "ratios": (1.0,), "clip": False, "steps": (-1.0, -1.0), "offsets": (0.5, 0.5),
}  # fmt: skip
_TARGET: dict[str, Any] = {
    "overlap_threshold": 0.5, "ignore_label": -1.0, "negative_mining_ratio": -1.0,
    "negative_mining_thresh": 0.5, "minimum_negative_samples": 0, "variances": _VARIANCES,
}  # fmt: skip
_DETECTION: dict[str, Any] = {
    "clip": True, "threshold": 0.01, "background_id": 0, "nms_threshold": 0.5,
    "force_suppress": False, "variances": _VARIANCES, "nms_topk": -1,
}  # fmt: skip
"""The attributes of MXNet's operators, and their defaults."""

_TARGET_OF_SAGEMAKER = Node("", "", {"negative_mining_ratio": "3"})


class Predictions(NamedTuple):
    """What a graph says of N images with A anchors and C classes, in 32 bits or more."""

    logits: Tensor
    """(N, C + 1, A), before the softmax; class 0 is the background."""
    locations: Tensor
    """(N, 4 A), as MultiBoxTarget encodes them."""
    anchors: Tensor
    """(1, A, 4), float32: xmin, ymin, xmax, ymax as parts of the image."""


class _Step(NamedTuple):
    function: Function
    inputs: tuple[int, ...]
    output: int
    done: tuple[int, ...]
    """Values that no later step needs."""


class Graph(nn.Module):
    """The graph ``symbol`` with the weights ``arrays``, for training and for detection, as the
    module's mode says. Raises ModelError for a graph that is no SSD, or not for images of
    ``image_shape``, an operator that is not known, and an array that is missing or has another
    shape."""

    def __init__(self, symbol: Symbol, arrays: Arrays, image_shape: int = 512) -> None:
        super().__init__()
        self.symbol = symbol
        self._side = image_shape
        nodes = symbol.nodes
        detection = _only(symbol, "_contrib_MultiBoxDetection")
        if detection is None or len(detection.inputs) != 3:
            raise ModelError("no graph of an SSD: it has no node MultiBoxDetection of three inputs")
        probabilities, locations, anchors = (place for place, _ in detection.inputs)
        if nodes[probabilities].op not in _PROBABILITIES or not nodes[probabilities].inputs:
            raise ModelError(f"node {nodes[probabilities].name[:80]!r} gives no probabilities")
        self._outputs = nodes[probabilities].inputs[0][0], locations
        self._detection = _attributes(detection, _DETECTION)
        if self._detection.pop("background_id") != 0:
            raise detection.error("background_id")
        target = _only(symbol, "_contrib_MultiBoxTarget") or _TARGET_OF_SAGEMAKER
        self._target = _attributes(target, _TARGET)
        self._other_loss = _other_loss(symbol, self._target["ignore_label"])
        priors = [nodes[place] for place in _priors(symbol, anchors)]
        self._priors = [_attributes(node, _PRIOR) for node in priors]
        self._maps = [node.inputs[0][0] for node in priors]
        self._anchors: dict[tuple[Any, ...], Tensor] = {}
        self._data = -1
        self._plan = self._steps()
        self._given = dict(arrays)
        self._names: dict[str, str] = {}
        self._variables = self._load()
        self.num_classes = self._count_classes(anchors)

    def forward(self, images: Tensor) -> Predictions:
        """Of ``images`` (N, 3, S, S): RGB, 0 to 255, the mean already subtracted."""
        variables = {place: getattr(self, name) for place, name in self._variables}
        return self._predict(images, variables, self.training)

    def losses(self, predictions: Predictions, labels: Tensor) -> Losses:
        """Of ``labels`` (N, M, 5 or more): rows id, xmin, ymin, xmax, ymax, up to the first with
        id -1. With the attributes of the graph's MultiBoxTarget; SageMaker's where it has none.
        Raises ModelError for a graph that was trained with other losses than SageMaker's."""
        if self._other_loss:
            raise ModelError(f"node {self._other_loss}: this loss can't be continued here")
        logits, locations, anchors = predictions
        targets = multibox.target(anchors, labels, logits.detach(), **self._target)
        return losses_of(logits, locations, targets)

    def detect(self, predictions: Predictions, *, nms_threshold: float | None = None) -> Tensor:
        """(N, A, 6): rows id, score, xmin, ymin, xmax, ymax as MXNet's MultiBoxDetection, with
        the attributes of the graph's node; id -1 is no detection."""
        logits, locations, anchors = predictions
        given = {} if nms_threshold is None else {"nms_threshold": nms_threshold}
        attributes = self._detection | given
        return multibox.detection(logits.softmax(1), locations, anchors, **attributes)

    def arrays(self) -> Arrays:
        """The weights as they are now, float32, under the names and in the order in which they
        came; those that no prediction needs, as they came."""
        found = dict(self._given)
        for key, name in self._names.items():
            value = getattr(self, name).detach()
            found[key] = value.to(
                "cpu", torch.float32, copy=True, memory_format=torch.contiguous_format
            ).numpy()
        return found

    def named(self) -> dict[str, nn.Parameter]:
        """The parameters by MXNet's names of the arguments. A gamma that is fixed is none."""
        return {
            key.removeprefix("arg:"): parameter
            for key, name in self._names.items()
            if isinstance(parameter := getattr(self, name), nn.Parameter)
        }

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Of the learning rate and the weight decay, for each parameter: what the graph's
        variables say, else 1, and no decay but of weights and gammas (MXNet's optimizers)."""
        found = {}
        for node in self.symbol.nodes:
            if node.op == "null":
                decays = node.name.endswith(("_weight", "_gamma"))
                found[node.name] = (
                    node.number("__lr_mult__", "1"),
                    node.number("__wd_mult__", str(int(decays))),
                )
        return {name: found[name] for name in self.named()}

    def _predict(
        self, images: Tensor, variables: Mapping[int, Tensor], training: bool
    ) -> Predictions:
        values: list[Any] = [None] * len(self.symbol.nodes)
        for place, variable in variables.items():
            values[place] = variable
        values[self._data] = images
        for function, inputs, output, done in self._plan:
            values[output] = function(training, *[values[place] for place in inputs])
            for place in done:
                values[place] = None
        logits, locations = (wide(values[place]) for place in self._outputs)
        sizes = [(values[place].shape[2], values[place].shape[3]) for place in self._maps]
        return Predictions(logits, locations, self._boxes(tuple(sizes), images.device))

    def _boxes(self, sizes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
        """The anchors of maps of these sizes, kept but while a compiler looks on: what it keeps
        may be overwritten by the next call. After one call without it, it finds them."""
        key = (sizes, device)
        if key in self._anchors:
            return self._anchors[key]
        parts = zip(sizes, self._priors, strict=True)
        with torch.inference_mode(False):  # kept ones are for training too
            each = [multibox.prior(*size, **attributes) for size, attributes in parts]
            boxes = torch.cat(each, 1).to(device)
        if not torch.compiler.is_compiling():
            if len(self._anchors) >= _MAX_SIZES:
                self._anchors.clear()
            self._anchors[key] = boxes
        return boxes

    def _steps(self) -> list[_Step]:
        """What is computed, in order, with nothing that no output needs."""
        nodes = self.symbol.nodes
        kept = {*self._outputs, *self._maps}
        needed = set(kept)
        for place in reversed(range(len(nodes))):
            if place in needed:
                needed.update(entry[0] for entry in nodes[place].inputs)
        steps = []
        for place in sorted(needed, reverse=True):
            node = nodes[place]
            if node.op == "null":
                self._data = place if node.name == "data" else self._data
                continue
            if any(output for _, output in node.inputs):
                raise ModelError(f"node {node.name[:80]!r} takes a second output, unknown here")
            inputs = tuple(entry[0] for entry in node.inputs)
            done = tuple(set(inputs) - kept)
            kept.update(inputs)
            steps.append(_Step(function_of(node), inputs, place, done))
        if self._data < 0:
            raise ModelError("no graph of an SSD: its predictions need no variable 'data'")
        return steps[::-1]

    def _count_classes(self, anchors: int) -> int:
        """By the predictions' shapes. Raises ModelError where they don't fit the anchors."""
        shapes = infer(self.symbol, self._side)
        logits, locations, boxes = (shapes.get(place, ()) for place in (*self._outputs, anchors))
        if not (len(logits) == 2 and logits[0] > 1 and boxes == (logits[1], 4)
                and locations == (4 * logits[1],)):  # fmt: skip
            raise ModelError(
                f"no graph of an SSD: an image's predictions have the shapes {logits} and "
                f"{locations}, its anchors {boxes}"
            )
        return logits[0] - 1

    def _load(self) -> list[tuple[int, str]]:
        """Make parameters and buffers of the arrays; their places and the modules' names."""
        nodes = self.symbol.nodes
        shapes = parameter_shapes(self.symbol, self._side)
        auxiliary = self.symbol.changed()
        fixed = {
            node.inputs[1][0]
            for node in nodes
            if node.op == "BatchNorm" and len(node.inputs) > 1 and node.flag("fix_gamma", True)
        }
        found = []
        for place in sorted({place for step in self._plan for place in step.inputs}):
            node = nodes[place]
            if node.op != "null" or place == self._data:
                continue
            key = f"{'aux' if place in auxiliary else 'arg'}:{node.name}"
            if key not in self._given or key not in shapes:
                raise ModelError(f"{key[:80]}: the graph needs this array, and it is missing")
            array = self._given[key]
            if array.shape != shapes[key]:
                raise ModelError(f"{key[:80]}: its shape is {array.shape}, not {shapes[key]}")
            value = torch.from_numpy(np.array(array, np.float32))
            name = self._names[key] = f"node{place}"
            if place in auxiliary or place in fixed:
                self.register_buffer(name, torch.ones_like(value) if place in fixed else value)
            else:
                self.register_parameter(name, nn.Parameter(value))
            found.append((place, name))
        return found


def _only(symbol: Symbol, op: str) -> Node | None:
    """The one node of an operator, if there is one."""
    found = [node for node in symbol.nodes if node.op == op]
    if len(found) > 1:
        raise ModelError(f"no graph of an SSD: it has {len(found)} nodes {op}")
    return found[0] if found else None


def _attributes(node: Node, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a MultiBox operator. Raises ModelError for others."""
    for key in node.attrs:
        if key not in defaults and not key.startswith("__"):
            raise node.error(key)
    found: dict[str, Any] = {}
    for key, default in defaults.items():
        if isinstance(default, bool):
            found[key] = node.flag(key, default)
        elif isinstance(default, int):
            found[key] = int(node.integers(key, str(default))[0])
        elif isinstance(default, float):
            found[key] = node.number(key, str(default))
        else:
            found[key] = node.numbers(key, str(default))
            if len(default) > 1 and len(found[key]) != len(default):
                raise node.error(key)
    return found


def _priors(symbol: Symbol, place: int) -> list[int]:
    """The nodes MultiBoxPrior whose boxes a node has, in order."""
    waiting, found, seen = [place], [], 0
    while waiting:
        place = waiting.pop()
        node = symbol.nodes[place]
        seen += 1
        if node.op == "_contrib_MultiBoxPrior" and node.inputs:
            found.append(place)
        elif node.op not in ("Concat", "Flatten", "Reshape") or seen > len(symbol.nodes):
            raise ModelError(
                f"node {node.name[:80]!r} ({node.op[:80]}): anchors come from MultiBoxPrior, once"
            )
        else:
            waiting += [entry[0] for entry in reversed(node.inputs)]
    return found


def _other_loss(symbol: Symbol, ignored: float) -> str:
    """A node that makes the losses others than ``losses`` computes, if there is one."""
    for node in symbol.nodes:
        same = True
        if node.op == "SoftmaxOutput":
            same = (
                node.attrs.get("normalization") == "valid"
                and node.flag("multi_output")
                and node.flag("use_ignore")
                and node.number("ignore_label", "-1") == ignored == -1
                and node.number("grad_scale", "1") == 1
            )
        elif node.op == "smooth_l1":
            same = node.number("scalar", "1") == 1
        if not same:
            return f"{node.name[:80]!r} ({node.op})"
    return ""
