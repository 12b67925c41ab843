"""What a training starts from: a model to continue, pretrained weights, or random numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ..errors import ModelError, SpecError
from ..hyperparameters import Hyperparameters
from .artifact import Model
from .mxnet_files import Arrays, Symbol
from .network import build, initial_arrays

TORCHVISION = "torchvision"
"""The name of VGG-16's weights, as torchvision's own SSD starts from."""

_OWN = re.compile("multi_feat|_pred_conv")
"""The layers that an SSD puts on whichever network."""

_VGG_BLOCKS = (2, 2, 3, 3, 3)


def starting_model(
    hyperparameters: Hyperparameters,
    model: Model | None,
    pretrained: Arrays | None,
    seed: int,
) -> Model:
    """The graph and the arrays before the first step.

    A model to continue must have the same network and number of classes, as on SageMaker. Of
    pretrained arrays those are taken that have the name and the shape of one here. Raises
    SpecError.
    """
    strings = hyperparameters.as_strings()
    symbol = build(
        hyperparameters.base_network, hyperparameters.num_classes, hyperparameters.image_shape,
        nms_threshold=hyperparameters.nms_threshold,
    )  # fmt: skip
    if model is not None:
        return Model(*_continued(model, symbol, hyperparameters), strings)
    random = np.random.default_rng([seed, 0])
    arrays = initial_arrays(symbol, hyperparameters.image_shape, random)
    if pretrained is not None:
        known = [
            name
            for name, array in arrays.items()
            if name in pretrained and pretrained[name].shape == array.shape
        ]
        layers = {one for one in arrays if one.endswith("_weight") and not _OWN.search(one)}
        if 2 * len(layers.intersection(known)) < len(layers):
            raise SpecError(
                f"pretrained: of {len(layers)} layers of {hyperparameters.base_network} it has "
                f"{len(layers.intersection(known))}; give a model of the same network"
            )
        arrays |= {name: pretrained[name].astype(np.float32) for name in known}
    elif hyperparameters.use_pretrained_model:
        raise SpecError(
            "use_pretrained_model: 1, but there are no weights to start from; give a .params file "
            "or a model.tar.gz with --pretrained, or begin from nothing with --set "
            "use_pretrained_model=0"
        )
    return Model(symbol, arrays, strings)


def _continued(
    model: Model, symbol: Symbol, hyperparameters: Hyperparameters
) -> tuple[Symbol, Arrays]:
    """The model's own graph where it trains on images of this size, else one of this size."""
    strings = hyperparameters.as_strings()
    before = model.hyperparameters
    wrong = [
        f"{name}: the model to continue has {before[name]}, but this job has {strings[name]}"
        for name in ("base_network", "num_classes")
        if before.get(name, strings[name]) != strings[name]
    ]
    if wrong:
        raise SpecError("\n".join(wrong))
    needed = initial_arrays(symbol, hyperparameters.image_shape, np.random.default_rng(0))
    for name, array in needed.items():
        there = model.arrays.get(name)
        if there is None or there.shape != array.shape:
            shape = "none" if there is None else f"shape {there.shape}"
            raise SpecError(
                f"model: another network or other classes: its {name} has {shape}, but "
                f"{hyperparameters.base_network} with {hyperparameters.num_classes} classes and "
                f"image_shape {hyperparameters.image_shape} needs {array.shape}"
            )
    same_size = before.get("image_shape") == strings["image_shape"]
    if same_size and any(node.op.endswith("MultiBoxTarget") for node in model.symbol.nodes):
        symbol = _with_threshold(model.symbol, hyperparameters.nms_threshold)
    return symbol, {name: model.arrays[name].astype(np.float32) for name in needed}


def _with_threshold(symbol: Symbol, nms_threshold: float) -> Symbol:
    """The graph with another threshold of its detections."""
    nodes = (
        node._replace(attrs={**node.attrs, "nms_threshold": str(nms_threshold)})
        if node.op.endswith("MultiBoxDetection")
        else node
        for node in symbol.nodes
    )
    return replace(symbol, nodes=tuple(nodes))


def torchvision_weights(base_network: str) -> Arrays:
    """VGG-16's convolutions, trained on ImageNet for RGB 0 to 255 less the mean, as torchvision's
    own SSD starts from; torchvision fetches and keeps the file. Raises SpecError for other
    networks, ModelError without torchvision or when it can't be fetched."""
    if base_network != "vgg-16":
        raise SpecError(
            f"pretrained: torchvision has no weights for {base_network}, which is another network "
            "than its own; give a model.tar.gz or a .params file"
        )
    try:
        from torchvision.models import VGG16_Weights
    except ImportError as error:
        raise ModelError("pretrained: torchvision is missing: pip install torchvision") from error
    try:
        weights = VGG16_Weights.IMAGENET1K_FEATURES
        found = weights.get_state_dict(progress=False, map_location="cpu")
    except OSError as error:
        raise ModelError(
            f"pretrained: torchvision can't fetch its weights: {error}; give a file"
        ) from error
    names = [
        f"conv{block}_{layer}"
        for block, layers in enumerate(_VGG_BLOCKS, 1)
        for layer in range(1, layers + 1)
    ]
    kernels = [key for key in found if key.endswith("weight") and found[key].ndim == 4]
    arrays = {}
    for name, key in zip(names, kernels, strict=True):
        arrays[f"arg:{name}_weight"] = found[key].numpy()
        arrays[f"arg:{name}_bias"] = found[key.removesuffix("weight") + "bias"].numpy()
    return arrays
