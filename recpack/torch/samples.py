"""A record → a sample: the image, decoded, and its label or boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recpack.data.labels import detection_widths
from recpack.errors import ConfigError, DataError, RecordError
from recpack.formats.image_codec import decode
from recpack.formats.image_header import parse_header
from recpack.formats.recordio import Record
from recpack.torch.settings import SampleSettings

_MOST_CLASSES = 1 << 24
"""float32 has whole numbers up to here."""


class SampleMaker:
    """Makes the samples of one data set; it can be pickled if the user's functions can.

    Raises ConfigError when torchvision is missing and needed, RecordError that names the record.
    """

    def __init__(self, settings: SampleSettings, path: Callable[[int], str]) -> None:
        """``path``: the file of a position, for messages."""
        self._settings, self._path = settings, path
        how = settings.decode
        self._decode = _DECODERS[how] if isinstance(how, str) else how
        if settings.decode == "torchvision" or settings.targets == "tv_tensors":
            _torchvision()  # it is missed now, not in a worker

    def __call__(self, record: Record, position: int) -> Any:
        """The sample of the record at this position."""
        settings = self._settings
        try:
            data = record.image_bytes
            image = data if self._decode is None else self._decode(data)
            target = self._target(record, position, image)
        except DataError as error:
            where = f"{self._path(position)}: record {record.id} at byte {record.offset}"
            raise RecordError(f"{where}: {error}", record.offset) from error
        if settings.targets == "tv_tensors" and isinstance(image, Tensor):
            image = _torchvision().tv_tensors.Image(image)
        if settings.transform is not None:
            image = settings.transform(image)
        if settings.transforms is not None:
            return settings.transforms(image, target)
        return image, target

    def _target(self, record: Record, position: int, image: Any) -> Any:
        how, label = self._settings.targets, record.label
        if callable(how):
            return how(record)
        if how == "label":
            return torch.from_numpy(label)
        widths = detection_widths(label)
        if widths is None and len(label) > 1:
            return torch.from_numpy(label)
        if widths is None:
            if not (abs(label[0]) < _MOST_CLASSES and label[0].is_integer()):
                raise RecordError(
                    f"the label {label[0]:g} is no class id; targets='label' gives numbers"
                )
            return int(label[0])
        objects = label[widths[0] :].reshape(-1, widths[1])
        objects = objects[~(objects[:, 0] < 0)]  # an image without objects has one of -1
        ids = objects[:, 0]
        wrong = ids[~(ids < _MOST_CLASSES) | (ids != np.floor(ids))]
        if len(wrong):
            raise RecordError(f"a box of class {wrong[0]:g}, which is no class id")
        width, height = _size(record.image_bytes, image)
        edges = objects[:, 1:5] * np.array([width, height, width, height], np.float32)
        ids = objects[:, 0].astype(np.int64)
        return {
            "boxes": self._boxes(torch.from_numpy(edges), height, width),
            "labels": torch.from_numpy(ids + self._settings.label_offset),
            "image_id": position,
        }

    def _boxes(self, edges: Tensor, height: int, width: int) -> Tensor:
        if self._settings.targets != "tv_tensors":
            return edges
        boxes: Tensor = _torchvision().tv_tensors.BoundingBoxes(
            edges, format="XYXY", canvas_size=(height, width)
        )
        return boxes


def _size(data: bytes, image: Any) -> tuple[int, int]:
    """(width, height) of the image as it was decoded, or as it is shown if it was not."""
    if isinstance(image, Tensor) and image.ndim >= 2:
        return int(image.shape[-1]), int(image.shape[-2])
    return parse_header(data).upright


def _decode_by_opencv(data: bytes) -> Tensor:
    return torch.from_numpy(decode(data, red_first=True)).permute(2, 0, 1)


def _decode_by_torchvision(data: bytes) -> Tensor:
    io = _torchvision().io
    # torch warns of memory that can't be written
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        image: Tensor = io.decode_image(encoded, io.ImageReadMode.RGB, apply_exif_orientation=True)
    except RuntimeError as error:
        raise RecordError(f"torchvision can't decode it: {str(error)[:200]}") from error
    return image


_DECODERS: dict[str, Callable[[bytes], Tensor]] = {
    "opencv": _decode_by_opencv,
    "torchvision": _decode_by_torchvision,
}


def _torchvision() -> Any:
    try:
        import torchvision.io
        import torchvision.tv_tensors
    except ImportError as error:
        raise ConfigError(
            f"decode, targets: torchvision is missing: pip install torchvision ({error})"
        ) from error
    return torchvision
