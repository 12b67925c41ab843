"""The two kinds of models, and how labels, containers and measures tell them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from recpack import Manifest

Kind = Literal["detection", "classification"]
"""Boxes with a class each, or classes of whole images."""

REPOSITORIES: dict[Kind, str] = {
    "detection": "object-detection",
    "classification": "image-classification",
}
"""SageMaker's own algorithms: the names of their containers."""
MEASURES: dict[Kind, str] = {"detection": "mAP", "classification": "accuracy"}
"""What a model is measured by, as the logs call it."""

_CONTAINER = re.compile(rf"/({'|'.join(REPOSITORIES.values())})([:@]|$)")


def kind_of_labels(manifest: Manifest) -> Kind:
    """The kind of model that learns a data set."""
    return "detection" if manifest.object_width else "classification"


def kind_of_image(image: str) -> Kind | None:
    """The kind of model that a container of SageMaker's own trains; None for another container."""
    found = _CONTAINER.search(image)
    return next((kind for kind, name in REPOSITORIES.items() if found and name == found[1]), None)
