"""MXNet's optimizers, as the built-in algorithm is taken to set them.

Source: MXNet 1.9.1, ``python/mxnet/optimizer`` and ``src/operator/optimizer_op-inl.h``; what is set
for each follows zhreshold/mxnet-ssd, ``train/train_net.py``: rmsprop takes a tenth of the learning
rate; adam and adadelta have no weight decay; adadelta has no learning rate either.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Group = dict[str, Any]


def make(
    name: str,
    parameters: Mapping[str, nn.Parameter],
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    multipliers: Mapping[str, tuple[float, float]],
    batch_size: int = 1,
) -> torch.optim.Optimizer:
    """The optimizer ``name`` (sgd, adam, rmsprop, adadelta) of these parameters.

    ``multipliers`` are those of the learning rate and the weight decay by the parameter's name, (1,
    1) when it has none. To change the learning rate, set ``lr`` of every parameter group to the
    same number: multipliers and rmsprop's tenth are the optimizer's own affair. Only adadelta
    heeds ``batch_size``.
    """
    kind = KINDS[name]
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for key, parameter in parameters.items():
        groups.setdefault(multipliers.get(key, (1.0, 1.0)), []).append(parameter)
    return kind(
        [
            {"params": members, "lr_mult": faster, "wd": weight_decay * more}
            for (faster, more), members in groups.items()
        ],
        {"lr": learning_rate, "momentum": momentum, "batch_size": batch_size, "steps": 0},
    )


class MXNetOptimizer(torch.optim.Optimizer):
    """What the four share: the walk over groups. A parameter without a gradient is left alone."""

    slots: ClassVar[tuple[str, ...]]
    """The names of what is kept for each parameter."""

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters once."""
        for group in self.param_groups:
            parameters = [one for one in group["params"] if one.grad is not None]
            group["steps"] += 1
            if parameters:
                kept = [[self._kept(one, slot) for one in parameters] for slot in self.slots]
                self.update(group, parameters, [one.grad for one in parameters], *kept)

    def _kept(self, parameter: Tensor, slot: str) -> Tensor:
        state = self.state[parameter]
        if slot not in state:
            state[slot] = torch.zeros_like(parameter)
        kept: Tensor = state[slot]
        return kept

    def update(
        self, group: Group, weights: list[Tensor], gradients: list[Tensor], *kept: list[Tensor]
    ) -> None:
        """Update one group's parameters and what is kept for them, in place."""
        raise NotImplementedError


class Sgd(MXNetOptimizer):
    """The learning rate stands inside the velocity, other than in PyTorch, so a change of it does
    not change how far earlier gradients still carry."""

    slots = ("velocity",)

    def update(
        self, group: Group, weights: list[Tensor], gradients: list[Tensor], *kept: list[Tensor]
    ) -> None:
        rate, decay = single(group["lr"] * group["lr_mult"]), single(group["wd"])
        (velocity,) = kept
        torch._foreach_mul_(velocity, single(group["momentum"]))
        torch._foreach_add_(velocity, gradients, alpha=-rate)
        if decay:
            torch._foreach_add_(velocity, weights, alpha=-rate * decay)
        torch._foreach_add_(weights, velocity)


class Adam(MXNetOptimizer):
    """Epsilon is added to the root of the variance as it is, before its bias is corrected."""

    slots = ("mean", "variance")
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8

    def update(
        self, group: Group, weights: list[Tensor], gradients: list[Tensor], *kept: list[Tensor]
    ) -> None:
        steps = group["steps"]
        rate = group["lr"] * group["lr_mult"]
        rate *= (1 - self.beta2**steps) ** 0.5 / (1 - self.beta1**steps)
        beta1, beta2 = single(self.beta1), single(self.beta2)
        mean, variance = kept
        torch._foreach_mul_(mean, beta1)
        torch._foreach_add_(mean, gradients, alpha=1 - beta1)
        torch._foreach_mul_(variance, beta2)
        torch._foreach_addcmul_(variance, gradients, gradients, 1 - beta2)
        deviation = torch._foreach_sqrt(variance)
        torch._foreach_add_(deviation, single(self.epsilon))
        torch._foreach_addcdiv_(weights, mean, deviation, -single(rate))


class RmsProp(MXNetOptimizer):
    """Epsilon stands inside the root."""

    slots = ("variance",)
    gamma, epsilon = 0.9, 1e-8

    def update(
        self, group: Group, weights: list[Tensor], gradients: list[Tensor], *kept: list[Tensor]
    ) -> None:
        rate, decay = single(group["lr"] / 10 * group["lr_mult"]), single(group["wd"])
        (variance,) = kept
        gamma = single(self.gamma)
        if decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
        torch._foreach_mul_(variance, gamma)
        torch._foreach_addcmul_(variance, gradients, gradients, single(1 - gamma))
        deviation = torch._foreach_add(variance, single(self.epsilon))
        torch._foreach_sqrt_(deviation)
        torch._foreach_addcdiv_(weights, gradients, deviation, -rate)


class AdaDelta(MXNetOptimizer):
    """Zeiler's method, without a learning rate. The gradients are divided by the batch size, though
    they are a mean already: MXNet's Module does so where nothing else is set, as for the others."""

    slots = ("gradients", "deltas")
    rho, epsilon = 0.9, 1e-5

    def update(
        self, group: Group, weights: list[Tensor], gradients: list[Tensor], *kept: list[Tensor]
    ) -> None:
        squares, deltas = kept
        gradients = list(torch._foreach_mul(gradients, 1 / group["batch_size"]))
        torch._foreach_mul_(squares, self.rho)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - self.rho)
        delta = torch._foreach_add(deltas, self.epsilon)
        torch._foreach_div_(delta, torch._foreach_add(squares, self.epsilon))
        torch._foreach_sqrt_(delta)
        torch._foreach_mul_(delta, gradients)
        torch._foreach_mul_(deltas, self.rho)
        torch._foreach_addcmul_(deltas, delta, delta, 1 - self.rho)
        torch._foreach_sub_(weights, delta)


KINDS: dict[str, type[MXNetOptimizer]] = {
    "sgd": Sgd, "adam": Adam, "rmsprop": RmsProp, "adadelta": AdaDelta,
}  # fmt: skip


def single(value: float) -> float:
    """A number as MXNet's operators take it: rounded to float32, for weights in float64 too."""
    return ctypes.c_float(value).value
