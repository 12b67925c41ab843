"""MXNet's operators, losses and optimizers on arrays; ``oracle.py`` imports it. The arrays of a
question and of its answer are in ``.npz`` files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np

Arrays = dict[str, Any]


def _read(path: str, dtype: str) -> Arrays:
    with np.load(path) as file:
        return {name: mx.nd.array(value, dtype=dtype) for name, value in file.items()}


def multibox(operator: str, attributes: dict[str, Any], question: str, answer: str) -> None:
    """One of the ``MultiBox`` operators; its inputs in the file's order."""
    found = getattr(mx.nd.contrib, operator)(*_read(question, "float32").values(), **attributes)
    parts = found if isinstance(found, list) else [found]
    np.savez(answer, *[part.asnumpy() for part in parts])


def losses(question: str, answer: str) -> None:
    """The end of SageMaker's graph from ``logits``, ``locations`` and the three targets on, in
    float64: the outputs and the two gradients."""
    given = _read(question, "float64")
    inputs = given["logits"], given["locations"]
    for one in inputs:
        one.attach_grad()
    with mx.autograd.record():
        probabilities = mx.nd.SoftmaxOutput(
            given["logits"], given["classes"], ignore_label=-1, use_ignore=True, grad_scale=1.0,
            multi_output=True, normalization="valid",
        )  # fmt: skip
        apart = given["mask"] * (given["locations"] - given["targets"])
        distance = mx.nd.MakeLoss(
            mx.nd.smooth_l1(apart, scalar=1.0), grad_scale=1.0, normalization="valid"
        )
    mx.autograd.backward([probabilities, distance])
    np.savez(
        answer, probabilities=probabilities.asnumpy(), distance=distance.asnumpy(),
        logits=inputs[0].grad.asnumpy(), locations=inputs[1].grad.asnumpy(),
    )  # fmt: skip


def optimize(
    name: str, options: dict[str, Any], rates: list[float], question: str, answer: str
) -> None:
    """As many steps of an optimizer as there are ``rates``, in float64: of a net of two layers,
    whose weights and batches the file has. The losses and the last weights."""
    given = _read(question, "float64")
    names = ["first_weight", "first_bias", "second_weight", "second_bias"]
    weights = [given[one] for one in names]
    multipliers = options.pop("multipliers")
    optimizer = mx.optimizer.create(name, param_idx2name=dict(enumerate(names)), **options)
    optimizer.set_lr_mult({one: pair[0] for one, pair in multipliers.items()})
    optimizer.set_wd_mult({one: pair[1] for one, pair in multipliers.items()})
    # some classes make their own in float32 whatever the weights are
    counts = {"sgd": 1, "rmsprop": 1, "adam": 2, "adadelta": 2}
    states: list[Any] = []
    for weight in weights:
        parts = [mx.nd.zeros_like(weight) for _ in range(counts[name])]
        states.append(tuple(parts) if name != "sgd" else parts[0])
        if name == "sgd" and not options["momentum"]:
            states[-1] = None
        weight.attach_grad()
    found = []
    for step, rate in enumerate(rates):
        optimizer.lr = rate
        with mx.autograd.record():
            one, bias, two, shift = weights
            inner = mx.nd.tanh(mx.nd.dot(given["inputs"][step], one) + bias)
            error = mx.nd.dot(inner, two) + shift - given["outputs"][step]
            loss = (error**2).mean()
        loss.backward()
        found.append(loss.asscalar())
        for index, weight in enumerate(weights):
            optimizer.update(index, weight, weight.grad, states[index])
    np.savez(
        answer, losses=found, **dict(zip(names, [one.asnumpy() for one in weights], strict=True))
    )


calls: dict[str, Callable[..., Any]] = {f.__name__: f for f in (multibox, losses, optimize)}
