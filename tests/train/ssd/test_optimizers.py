"""The optimizers against MXNet's own classes, in float64."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from tests.support.arrays import ask
from train.ssd.optimizers import KINDS, make

RATES = [0.004, 0.004, 0.01, 0.02, 0.02, 0.0, 0.002, 0.002, 0.0003, 0.0003]
MULTIPLIERS = {
    "first_weight": (1.0, 1.0), "first_bias": (2.0, 0.0),
    "second_weight": (0.5, 0.1), "second_bias": (2.0, 0.0),
}  # fmt: skip
DECAY = 0.01


def problem() -> dict[str, npt.NDArray[Any]]:
    random = np.random.default_rng(11)
    return {
        "first_weight": random.normal(0, 0.5, (6, 7)),
        "first_bias": random.normal(0, 0.5, 7),
        "second_weight": random.normal(0, 0.5, (7, 3)),
        "second_bias": random.normal(0, 0.5, 3),
        "inputs": random.normal(0, 1, (len(RATES), 16, 6)),
        "outputs": random.normal(0, 1, (len(RATES), 16, 3)),
    }


class Net:
    """The net of ``mxnet_operators.optimize``."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        given = {name: torch.tensor(value, dtype=dtype) for name, value in problem().items()}
        self.inputs, self.outputs = given.pop("inputs"), given.pop("outputs")
        self.weights = {name: nn.Parameter(value) for name, value in given.items()}

    def loss(self, step: int) -> Tensor:
        one, bias, two, shift = self.weights.values()
        inner = (self.inputs[step] @ one + bias).tanh()
        return (inner @ two + shift - self.outputs[step]).square().mean()

    def run(self, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
        found = []
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = RATES[step]
            optimizer.zero_grad()
            loss = self.loss(step)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found


def optimizer_of(
    name: str, net: Net, momentum: float = 0.9, weight_decay: float = DECAY, batch_size: int = 1
) -> torch.optim.Optimizer:
    return make(
        name, net.weights, learning_rate=0.004, momentum=momentum, weight_decay=weight_decay,
        multipliers=MULTIPLIERS, batch_size=batch_size,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        ("sgd", {"momentum": 0.9, "wd": DECAY}, 1.0),
        ("sgd", {"momentum": 0.0, "wd": DECAY}, 1.0),
        ("sgd", {"momentum": 0.9, "wd": 0.0}, 1.0),
        ("rmsprop", {"wd": DECAY}, 0.1),
        ("rmsprop", {"wd": 0.0}, 0.1),
        ("adam", {}, 1.0),
        ("adadelta", {"rescale_grad": 1 / 16}, 1.0),
    ],
)
def test_ten_steps(
    oracle: Callable[..., Any], name: str, options: dict[str, float], scale: float
) -> None:
    rates = [rate * scale for rate in RATES]
    theirs = ask(
        oracle, "optimize", problem(), name, {**options, "multipliers": MULTIPLIERS}, rates
    )
    net = Net()
    optimizer = optimizer_of(
        name, net, momentum=options.get("momentum", 0.9), weight_decay=options.get("wd", DECAY),
        batch_size=16,
    )  # fmt: skip
    # to the last digit, but for adam where MXNet reads a rate's decimals a little wrong
    np.testing.assert_allclose(net.run(optimizer, range(10)), theirs["losses"], rtol=1e-9)
    for key, weight in net.weights.items():
        away = abs(weight.detach().numpy() - theirs[key]).max()
        assert away <= 1e-9 * abs(theirs[key]).max()
        assert abs(theirs[key] - problem()[key]).max() > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_a_saved_state_goes_on_as_if_nothing_had_been(name: str) -> None:
    whole, first = Net(), Net()
    expected = whole.run(optimizer_of(name, whole), range(10))
    found = first.run(optimizer := optimizer_of(name, first), range(4))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)

    second = Net()
    second.weights = first.weights
    resumed = optimizer_of(name, second)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    found += second.run(resumed, range(4, 10))
    assert found == expected
    for one, other in zip(whole.weights.values(), second.weights.values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", KINDS)
def test_float32_weights_under_autocast(name: str) -> None:
    net = Net(torch.float32)
    optimizer = optimizer_of(name, net)
    with torch.autocast("cpu", torch.bfloat16):
        losses = net.run(optimizer, range(10))
    assert all(np.isfinite(losses))
    for state in optimizer.state.values():
        assert {one.dtype for one in state.values()} == {torch.float32}


@pytest.mark.parametrize("name", KINDS)
def test_weights_without_a_gradient_are_left_alone(name: str) -> None:
    net = Net()
    spare = net.weights["spare_weight"] = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = optimizer_of(name, net)
    del net.weights["spare_weight"]
    net.run(optimizer, range(2))
    assert spare.tolist() == [1, 1, 1]
    assert not optimizer.state[spare]


def test_adadelta_and_adam_have_no_weight_decay_and_adadelta_no_rate() -> None:
    def ends(name: str, decay: float, rate: float) -> Tensor:
        net = Net()
        optimizer = optimizer_of(name, net, weight_decay=decay)
        for group in optimizer.param_groups:
            group["lr"] = rate
        net.loss(0).backward()
        optimizer.step()
        return net.weights["first_weight"].detach()

    for name in ("adam", "adadelta"):
        assert torch.equal(ends(name, 0.0, 0.1), ends(name, 0.5, 0.1))
    assert torch.equal(ends("adadelta", 0.0, 0.1), ends("adadelta", 0.0, 0.5))
