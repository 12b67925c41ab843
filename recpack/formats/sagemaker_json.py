"""The JSON that SageMaker's object detection reads beside RecordIO, as msgspec structures.

Source: AWS developer guide, ``augmented-manifest.html`` and ``object-detection.html``. Boxes are
left, top, width, height in pixels.
"""

from __future__ import annotations

import msgspec

JSON_FOLDER = "_annotation"
"""Suffix of the folder with the JSON files of an image folder, as in SageMaker's channels."""


class Size(msgspec.Struct):
    width: float
    height: float
    depth: int = 3


class Box(msgspec.Struct):
    class_id: int
    left: float
    top: float
    width: float
    height: float


class Boxes(msgspec.Struct):
    """The fields that both formats have."""

    annotations: list[Box]
    image_size: list[Size] = []


class Category(msgspec.Struct):
    class_id: int
    name: str


class ImageFile(Boxes, kw_only=True):
    """One file of the folder."""

    file: str
    categories: list[Category] = []
