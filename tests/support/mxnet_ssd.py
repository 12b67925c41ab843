"""SSD networks built by MXNet's own symbol interface, and run by it. ``oracle.py`` loads this; the
arrays of a question and of its answer are in ``.npz`` files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mxnet as mx
import numpy as np

sym = mx.sym


def graph(network: str, classes: int, side: int) -> str:
    """The JSON of the graph for training."""
    return str(_training(network, classes, side).tojson())


def _training(network: str, classes: int, side: int) -> Any:
    mx.name.NameManager._current.value = mx.name.NameManager()  # each graph counts from 0
    label = sym.Variable("label")
    large = side >= 448
    steps: list[int] = []
    if network == "vgg-16":
        layers = _vgg()
        extras = [(512, 2, 1), (256, 2, 1), (256, 1, 0), (256, 1, 0)]
        if large:
            extras = [(512, 2, 1), (256, 2, 1), (256, 2, 1), (256, 2, 1), (256, 1, 1)]
        if side == 300:
            steps = [8, 16, 32, 64, 100, 300]
        elif side == 512:
            steps = [8, 16, 32, 64, 128, 256, 512]
    else:
        layers = _resnet([3, 4, 6, 3], True) if network == "resnet-50" else _resnet([2] * 4, False)
        extras = [(512, 2, 1), (256, 2, 1), (256, 2, 1), (128, 2, 1)]
    for number, (width, stride, pad) in enumerate(extras):
        name = f"multi_feat_{number + 2}_conv"
        small = _extra(layers[-1], f"{name}_1x1", max(128, width // 2), (1, 1), (1, 1), (0, 0))
        layers.append(_extra(small, f"{name}_3x3", width, (3, 3), (stride, stride), (pad, pad)))
    scales = [0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05]
    if len(layers) == 6:
        scales = [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05]
    few, many = "(1,2,0.5)", "(1,2,0.5,3,0.333333333333)"
    ratios = [few, *[many] * (len(layers) - 3), few, few]
    places: list[Any] = []
    logits: list[Any] = []
    anchors = []
    for number, layer in enumerate(layers):
        name = layer.name
        if name == "relu4_3":
            layer = sym.L2Normalization(layer, mode="channel", name="relu4_3_norm")
            scale = sym.Variable(
                "relu4_3_scale", shape=(1, 512, 1, 1), init=mx.init.Constant(20),
                attr={"__wd_mult__": "0.1"},
            )  # fmt: skip
            layer = sym.broadcast_mul(lhs=scale, rhs=layer)
        each = ratios[number].count(",") + 2
        for found, kind, width in ((places, "loc", 4), (logits, "cls", classes + 1)):
            bias = _bias(f"{name}_{kind}_pred_conv_bias")
            head = sym.Convolution(
                layer, bias=bias, kernel=(3, 3), stride=(1, 1), pad=(1, 1),
                num_filter=each * width, name=f"{name}_{kind}_pred_conv",
            )  # fmt: skip
            found.append(sym.Flatten(sym.transpose(head, axes=(0, 2, 3, 1))))
        second = np.float32(math.sqrt(scales[number] * scales[number + 1]))
        prior = mx.contrib.symbol.MultiBoxPrior(
            layer, sizes=f"({scales[number]},{second:.6g})", ratios=ratios[number], clip=False,
            steps=(steps[number] / side,) * 2 if steps else (-1.0, -1.0), name=f"{name}_anchors",
        )  # fmt: skip
        anchors.append(sym.Flatten(prior))
    count = {"num_args": len(layers), "dim": 1}
    place = sym.Concat(*places, name="multibox_loc_pred", **count)
    logit = sym.Reshape(sym.Concat(*logits, **count), shape=(0, -1, classes + 1))
    logit = sym.transpose(logit, axes=(0, 2, 1), name="multibox_cls_pred")
    anchor = sym.Concat(*anchors, **count)
    anchor = sym.Reshape(anchor, shape=(0, -1, 4), name="multibox_anchors")
    variances = (0.1, 0.1, 0.2, 0.2)
    target = mx.contrib.symbol.MultiBoxTarget(
        anchor, label, logit, overlap_threshold=0.5, ignore_label=-1, negative_mining_ratio=3,
        minimum_negative_samples=0, negative_mining_thresh=0.5, variances=variances,
        name="multibox_target",
    )  # fmt: skip
    softmax = sym.SoftmaxOutput(
        logit, target[2], ignore_label=-1, use_ignore=True, grad_scale=1.0, multi_output=True,
        normalization="valid", name="cls_prob",
    )  # fmt: skip
    loss = sym.smooth_l1(target[1] * (place - target[0]), scalar=1.0, name="loc_loss_")
    loss = sym.MakeLoss(loss, grad_scale=1.0, normalization="valid", name="loc_loss")
    shown = sym.MakeLoss(target[2], grad_scale=0, name="cls_label")
    detection = mx.contrib.symbol.MultiBoxDetection(
        softmax, place, anchor, nms_threshold=0.45, force_suppress=False, variances=variances,
        nms_topk=400, name="detection",
    )  # fmt: skip
    return sym.Group([softmax, loss, shown, sym.MakeLoss(detection, grad_scale=0, name="det_out")])


def _bias(name: str) -> Any:
    return sym.Variable(name, init=mx.init.Constant(0.0), attr={"__lr_mult__": "2.0"})


def _extra(data: Any, name: str, width: int, kernel: Any, stride: Any, pad: Any) -> Any:
    data = sym.Convolution(
        data, bias=_bias(f"{name}_conv_bias"), kernel=kernel, stride=stride, pad=pad,
        num_filter=width, name=f"{name}_conv",
    )  # fmt: skip
    return sym.Activation(data, act_type="relu", name=f"{name}_relu")


def _vgg() -> list[Any]:
    data = sym.Variable("data")
    layers = []
    for group, (count, width) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for number in range(1, count + 1):
            data = sym.Convolution(
                data, kernel=(3, 3), pad=(1, 1), num_filter=width, name=f"conv{group}_{number}"
            )
            data = sym.Activation(data, act_type="relu", name=f"relu{group}_{number}")
        if group == 4:
            layers.append(data)
        if group == 5:
            data = sym.Pooling(
                data, pool_type="max", kernel=(3, 3), stride=(1, 1), pad=(1, 1), name="pool5"
            )
        else:
            convention = {"pooling_convention": "full"} if group == 3 else {}
            data = sym.Pooling(
                data, pool_type="max", kernel=(2, 2), stride=(2, 2), name=f"pool{group}",
                **convention,
            )  # fmt: skip
    data = sym.Convolution(
        data, kernel=(3, 3), pad=(6, 6), dilate=(6, 6), num_filter=1024, name="fc6"
    )
    data = sym.Activation(data, act_type="relu", name="relu6")
    data = sym.Convolution(data, kernel=(1, 1), pad=(0, 0), num_filter=1024, name="fc7")
    data = sym.Activation(data, act_type="relu", name="relu7")
    sym.Flatten(data)  # of the classifier, which detection leaves out
    return [*layers, data]


def _resnet(units: Sequence[int], bottleneck: bool) -> list[Any]:
    def norm(data: Any, name: str, fix: bool = False) -> Any:
        return sym.BatchNorm(data, fix_gamma=fix, eps=2e-5, momentum=0.9, name=name)

    def conv(data: Any, name: str, width: int, side: int, stride: int, **pad: Any) -> Any:
        return sym.Convolution(
            data, num_filter=width, kernel=(side, side), stride=(stride, stride), no_bias=True,
            workspace=256, name=name, **pad,
        )  # fmt: skip

    data = norm(sym.identity(sym.Variable("data"), name="id"), "bn_data", True)
    data = conv(data, "conv0", 64, 7, 2, pad=(3, 3))
    data = sym.Activation(norm(data, "bn0"), act_type="relu", name="relu0")
    data = sym.Pooling(data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    wide = [256, 512, 1024, 2048] if bottleneck else [64, 128, 256, 512]
    layers = []
    for stage, (count, width) in enumerate(zip(units, wide, strict=True)):
        for unit in range(count):
            name = f"stage{stage + 1}_unit{unit + 1}"
            stride = 2 if stage and not unit else 1
            first = sym.Activation(norm(data, f"{name}_bn1"), act_type="relu", name=f"{name}_relu1")
            if bottleneck:
                body = conv(first, f"{name}_conv1", width // 4, 1, 1, pad=(0, 0))
                body = norm(body, f"{name}_bn2")
                body = sym.Activation(body, act_type="relu", name=f"{name}_relu2")
                body = conv(body, f"{name}_conv2", width // 4, 3, stride, pad=(1, 1))
                body = norm(body, f"{name}_bn3")
                body = sym.Activation(body, act_type="relu", name=f"{name}_relu3")
                body = conv(body, f"{name}_conv3", width, 1, 1, pad=(0, 0))
            else:
                body = conv(first, f"{name}_conv1", width, 3, stride, pad=(1, 1))
                body = norm(body, f"{name}_bn2")
                body = sym.Activation(body, act_type="relu", name=f"{name}_relu2")
                body = conv(body, f"{name}_conv2", width, 3, 1, pad=(1, 1))
            shortcut = data if unit else conv(first, f"{name}_sc", width, 1, stride)
            data = body + shortcut
        layers.append(data)
    sym.Flatten(data)  # of the classifier, which detection leaves out
    return layers[2:]


HEADS = {
    "logits": "multibox_cls_pred", "probabilities": "cls_prob", "locations": "multibox_loc_pred",
    "anchors": "multibox_anchors", "detections": "detection",
}  # fmt: skip


def predict(prefix: str, images: str, answer: str) -> None:
    """What the checkpoint ``prefix`` says of images (``.npy``), in inference."""
    symbol, arguments, states = mx.model.load_checkpoint(prefix, 0)
    inner = symbol.get_internals()
    outputs = sym.Group([inner[f"{name}_output"] for name in HEADS.values()])
    data = np.load(images)
    executor = outputs.simple_bind(
        mx.cpu(), grad_req="null", data=data.shape, label=(len(data), 1, 5)
    )
    executor.copy_params_from(arguments, states)
    label = mx.nd.full((len(data), 1, 5), -1)
    found = executor.forward(is_train=False, data=mx.nd.array(data), label=label)
    np.savez(answer, **{name: one.asnumpy() for name, one in zip(HEADS, found, strict=True)})


def train(prefix: str, question: str, answer: str) -> dict[str, int]:
    """One pass forward and back in float64, with targets that are given: the MultiBox operators
    know float32 alone. Probabilities, gradients and moving means and variances; and of how many
    values of a channel each mean is."""
    symbol, arguments, states = mx.model.load_checkpoint(prefix, 0)
    given = dict(np.load(question))
    inner = symbol.get_internals()
    softmax = sym.SoftmaxOutput(
        inner["multibox_cls_pred_output"], sym.Variable("classes"), ignore_label=-1,
        use_ignore=True, grad_scale=1.0, multi_output=True, normalization="valid",
    )  # fmt: skip
    apart = inner["multibox_loc_pred_output"] - sym.Variable("locations")
    loss = sym.smooth_l1(sym.Variable("mask") * apart, scalar=1.0)
    graph = sym.Group([softmax, sym.MakeLoss(loss, grad_scale=1.0, normalization="valid")])
    names = graph.list_arguments() + graph.list_auxiliary_states()
    executor = graph.simple_bind(
        mx.cpu(), grad_req="write", type_dict=dict.fromkeys(names, np.float64),
        **{name: one.shape for name, one in given.items()},
    )  # fmt: skip
    for known, there in ((arguments, executor.arg_dict), (states, executor.aux_dict)):
        for name, one in known.items():
            there[name][:] = one.astype(np.float64)
    for name, one in given.items():
        executor.arg_dict[name][:] = one
    executor.forward(is_train=True)
    executor.backward()
    found = {"probabilities": executor.outputs[0].asnumpy()}
    found |= {name: executor.grad_dict[name].asnumpy() for name in arguments}
    found |= {name: one.asnumpy() for name, one in executor.aux_dict.items()}
    np.savez(answer, **found)
    _, shapes, _ = graph.get_internals().infer_shape(
        **{name: one.shape for name, one in given.items()}
    )
    sizes = dict(zip(graph.get_internals().list_outputs(), shapes, strict=True))
    counts = {}
    for name in states:
        shape = sizes[f"{name.rpartition('_moving')[0]}_output"]
        counts[name] = shape[0] * shape[2] * shape[3]
    return counts


def checkpoint(network: str, classes: int, side: int, images: str, prefix: str) -> None:
    """A network that MXNet made from random numbers, trained for a step, and saved."""
    mx.random.seed(3)
    np.random.seed(3)
    data = np.load(images)
    label = np.tile(np.array([[1, 0.2, 0.2, 0.7, 0.6]], np.float32), (len(data), 1, 1))
    module = mx.mod.Module(_training(network, classes, side), label_names=["label"])
    module.bind([("data", data.shape)], [("label", label.shape)])
    module.init_params(mx.init.Xavier(rnd_type="uniform", factor_type="avg", magnitude=3))
    module.init_optimizer(optimizer_params={"learning_rate": 1e-4})
    module.forward_backward(mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(label)]))
    module.update()
    module.save_checkpoint(prefix, 0)


def arrays(path: str, answer: str) -> list[str]:
    """What MXNet reads of a ``.params`` file."""
    found = mx.nd.load(path)
    np.savez(answer, *[one.asnumpy() for one in found.values()])
    return list(found)


def save(path: str, question: str) -> None:
    """A ``.params`` file that MXNet writes."""
    mx.nd.save(path, {name: mx.nd.array(one, dtype=one.dtype) for name, one in
                      dict(np.load(question)).items()})  # fmt: skip


def describe(path: str) -> list[Any]:
    """What MXNet reads of a symbol file: arguments, auxiliary states, outputs, its JSON."""
    symbol = sym.load(path)
    return [
        symbol.list_arguments(), symbol.list_auxiliary_states(), symbol.list_outputs(),
        str(symbol.tojson()),
    ]  # fmt: skip


calls: dict[str, Callable[..., Any]] = {
    f"ssd_{f.__name__}": f for f in (graph, predict, train, checkpoint, arrays, save, describe)
}
