"""Packed pictures and small models for these tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.demo.story import CLASSES, make_devkit
from train import local as launcher
from train.ssd import local, weights
from train.ssd.artifact import Model
from train.ssd.network import build, initial_arrays
from train.ssd.symbols import Node, Symbol


def packed(folder: Path, images: int, seed: int = 0) -> Path:
    """A ``.rec`` of drawn pictures of three classes."""
    make_devkit(folder / "devkit", images=images, seed=seed)
    recpack.convert(
        folder / "devkit", folder / "pictures.rec", classes=CLASSES, set="trainval,test"
    )
    return folder / "pictures.rec"


def small_model(side: int = 64, classes: int = 3, network: str = "resnet-18") -> Model:
    """A thin network with random weights, which finds something everywhere."""
    symbol = build_thin(network, classes, side)
    arrays = initial_arrays(symbol, side, np.random.default_rng(0))
    for name, array in arrays.items():
        if name.endswith("loc_pred_conv_weight"):
            array *= 0.3
    return Model(symbol, arrays, {"image_shape": str(side), "base_network": network})


def build_thin(*arguments: Any, **options: Any) -> Symbol:
    """Instead of ``build``: an eighth of the channels, but for the predictions."""
    symbol = build(*arguments, **options)

    def thin(node: Node) -> Node:
        attrs = dict(node.attrs)
        if "num_filter" in attrs and "_pred_conv" not in node.name:
            attrs["num_filter"] = str(int(attrs["num_filter"]) // 8)
        if "__shape__" in attrs:  # vgg-16's scale
            attrs["__shape__"] = "(1, 64, 1, 1)"
        return node._replace(attrs=attrs)

    return Symbol(tuple(map(thin, symbol.nodes)), symbol.heads, symbol.version)


def thin_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings have thin networks, in this process and in those of jobs."""
    monkeypatch.setattr(weights, "build", build_thin)
    monkeypatch.setattr(launcher, "driver", _driver)


def _driver(folder: Path, lock: int | str) -> list[str]:
    code = f"from {__name__} import run_thin_job; run_thin_job()"
    return [sys.executable, "-P", "-c", code, str(folder), str(lock)]


def run_thin_job() -> None:
    """The process of a job."""
    with pytest.MonkeyPatch.context() as patch:
        thin_jobs(patch)
        sys.exit(local.main())
