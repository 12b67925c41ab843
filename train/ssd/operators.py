"""MXNet's operators in PyTorch: each takes a node and gives the function that it stands for.

A function takes whether the network is in training, then its inputs. What an attribute means is
in MXNet's documentation of the operator (https://mxnet.apache.org/versions/1.9.1/api/python); an
attribute that is not known here is refused, since it could change the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError, SpecError
from .shapes import ADDITIONS, COPIES
from .symbols import Node

Function = Callable[..., Tensor]


def wide(value: Tensor) -> Tensor:
    """At least 32 bits."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def _between(node: Node, key: str, default: str, most: float = 1) -> float:
    """A number from 0 to ``most``."""
    number = node.number(key, default)
    if not 0 <= number <= most:
        raise node.error(key)
    return number


def _convolution(node: Node) -> Function:
    stride, dilate = node.pair("stride", "1, 1"), node.pair("dilate", "1, 1")
    pad, groups = node.pair("pad", "0, 0", 0), node.integers("num_group", "1", 1)[0]

    def convolution(_: bool, data: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(data, weight, bias, stride, pad, dilate, groups)

    return convolution


def _batch_norm(node: Node) -> Function:
    """Training keeps the unbiased variance, as MXNet does on a GPU (cuDNN) and not on the CPU: a
    difference of 1 / (values of a channel - 1)."""
    eps = _between(node, "eps", "0.001", math.inf)
    rate = 1 - float(np.float32(_between(node, "momentum", "0.9")))  # MXNet holds it in 32 bits
    fixed = node.flag("use_global_stats")

    def batch_norm(
        training: bool, data: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        learning = training and not fixed
        if learning and data.numel() == data.shape[1]:
            raise SpecError(
                f"mini_batch_size: 1 for each process is too few for images of this size, whose "
                f"map at {node.name} is one pixel; choose 2 or more"
            )
        return F.batch_norm(data, mean, variance, gamma, beta, learning, rate, eps)

    return batch_norm


def _activation(node: Node) -> Function:
    kinds: dict[str, Function] = {
        "relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softrelu": F.softplus,
    }  # fmt: skip
    function = kinds.get(node.attrs.get("act_type", ""))
    if function is None:
        raise node.error("act_type")
    return lambda _, data: function(data)


def _pooling(node: Node) -> Function:
    kind = node.attrs.get("pool_type", "max")
    if kind not in ("max", "avg"):
        raise node.error("pool_type")
    if node.flag("global_pool"):
        pool = torch.amax if kind == "max" else torch.mean
        return lambda _, data: pool(data, (2, 3), keepdim=True)
    kernel, stride = node.pair("kernel", ""), node.pair("stride", "1, 1")
    pad, convention = node.pair("pad", "0, 0", 0), node.attrs.get("pooling_convention", "valid")
    if convention not in ("valid", "full"):
        raise node.error("pooling_convention")
    full = convention == "full"
    if kind == "max":
        return lambda _, data: F.max_pool2d(data, kernel, stride, pad, ceil_mode=full)
    counted = node.flag("count_include_pad", True)
    return lambda _, data: F.avg_pool2d(data, kernel, stride, pad, full, counted)


def _l2_normalization(node: Node) -> Function:
    if node.attrs.get("mode") != "channel":
        raise node.error("mode")
    eps = _between(node, "eps", "1e-10", math.inf)

    def normalization(_: bool, data: Tensor) -> Tensor:
        data = wide(data)
        return data / (data.square().sum(1, keepdim=True) + eps).sqrt()

    return normalization


def _transpose(node: Node) -> Function:
    axes = node.integers("axes", least=0)
    return lambda _, data: data.permute(axes)


def _reshape(node: Node) -> Function:
    """0 copies a side, -1 is what remains."""
    shape = node.integers("shape", least=-1)

    def reshape(_: bool, data: Tensor) -> Tensor:
        return data.reshape([side or data.shape[at] for at, side in enumerate(shape)])

    return reshape


def _concat(node: Node) -> Function:
    axis = node.integers("dim", "1")[0]
    return lambda _, *data: torch.cat(data, axis)


def _dropout(node: Node) -> Function:
    share = _between(node, "p", "0.5")
    return lambda training, data: F.dropout(data, share, training)


_OPERATORS: dict[str, tuple[Callable[[Node], Function], str]] = {
    "Convolution": (_convolution, "kernel stride dilate pad num_filter num_group no_bias"),
    "BatchNorm": (_batch_norm, "eps momentum fix_gamma use_global_stats"),
    "Activation": (_activation, "act_type"),
    "Pooling": (
        _pooling,
        "kernel stride pad pool_type global_pool pooling_convention count_include_pad",
    ),
    "L2Normalization": (_l2_normalization, "mode eps"),
    "transpose": (_transpose, "axes"),
    "Flatten": (lambda _: lambda _, data: data.flatten(1), ""),
    "Reshape": (_reshape, "shape"),
    "Concat": (_concat, "dim num_args"),
    "Dropout": (_dropout, "p"),
}
_OPERATORS |= dict.fromkeys(COPIES, (lambda _: lambda _, data: data, ""))
_OPERATORS |= dict.fromkeys(ADDITIONS, (lambda _: lambda _, a, b: a + b, ""))
_OPERATORS["broadcast_mul"] = (lambda _: lambda _, a, b: a * b, "")
_NEUTRAL = {
    "workspace", "cudnn_tune", "cudnn_off", "layout=None", "layout=NCHW", "axis=1", "mode=training",
    "output_mean_var=False", "reverse=False", "axes=()",
}  # fmt: skip
"""Attributes that change no result, or not with this value."""


def function_of(node: Node) -> Function:
    """What a node computes. Raises ModelError for an operator or attribute that is not known."""
    if node.op not in _OPERATORS:
        raise ModelError(
            f"node {node.name[:80]!r}: the operator {node.op[:80]!r} is not known here"
        )
    make, known = _OPERATORS[node.op]
    for key, value in node.attrs.items():
        if not (key.startswith("__") or key in known.split() or key in _NEUTRAL
                or f"{key}={value}" in _NEUTRAL):  # fmt: skip
            raise node.error(key)
    return make(node)
