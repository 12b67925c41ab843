"""A model that detects: images → rows of class id, score and box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ModelError
from . import augment
from .graph import Graph
from .network import mean_of
from .ranks import device_of
from .validation import Rows, rows_of

if TYPE_CHECKING:
    from .artifact import Model


class Detector:
    """``model`` on a ``device``: ``auto`` is the GPU where there is one. ``image_shape`` is the
    side in pixels of the images that it takes. The arithmetic is float32. Raises ModelError,
    SpecError for a device that is not there."""

    def __init__(self, model: Model, *, device: str = "auto") -> None:
        self.device = device_of(device)
        self.image_shape = side_of(model)
        graph = Graph(model.symbol, model.arrays, self.image_shape).eval()
        self.num_classes = graph.num_classes
        self.graph = graph.to(self.device, memory_format=torch.channels_last)
        self.mean = mean_of(model.symbol, model.arrays)
        self._mean = torch.tensor(self.mean, device=self.device).view(1, 3, 1, 1)

    def prepare(self, data: bytes, name: str = "") -> tuple[npt.NDArray[np.uint8], int, int]:
        """An image file → (pixels, width, height): uint8 RGB of ``image_shape`` squared, and the
        size of the upright image. Raises TrainError for what is no image."""
        pixels = augment.decode(data, name)
        height, width = pixels.shape[:2]
        return augment.resize(pixels, self.image_shape), width, height

    @torch.inference_mode()
    def detect(self, images: Sequence[npt.NDArray[np.uint8]] | torch.Tensor) -> list[Rows]:
        """The objects in images as ``prepare`` gives them, uint8 (n, side, side, 3): for each image
        float32 (objects, 6), rows class id, score, xmin, ymin, xmax, ymax in ratios, by falling
        score."""
        if not isinstance(images, torch.Tensor):
            images = torch.from_numpy(np.stack(images))
        # bytes are what travels to the device, and there NHWC seen as NCHW is channels_last
        batch = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() - self._mean
        return rows_of(self.graph.detect(self.graph(batch)))

    def warm_up(self) -> None:
        """Detect once, so that the first answer does not wait for libraries that are loaded."""
        self.detect(torch.zeros(1, self.image_shape, self.image_shape, 3, dtype=torch.uint8))


def side_of(model: Model) -> int:
    """The side in pixels of the images that a model takes. Raises ModelError where its
    hyperparameters do not say it, and for a model that detects no objects."""
    if not any(node.op == "_contrib_MultiBoxDetection" for node in model.symbol.nodes):
        raise ModelError(
            "the model detects no objects: its graph has no node MultiBoxDetection; one of "
            "SageMaker's image classification is hosted by recpack-train deploy without --local"
        )
    text = model.hyperparameters.get("image_shape", "")
    if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= 4096:
        raise ModelError(
            f"image_shape: {text or 'missing'!r} in the model's hyperparams.json; write it there, "
            'as {"image_shape": "300"}'
        )
    return int(text)
