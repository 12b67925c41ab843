"""What SageMaker's JSON formats have in common: class names by id, and boxes.

Source: AWS developer guide, ``object-detection.html``. Boxes are left, top, width, height in
pixels.
"""

from __future__ import annotations

from recpack.data.annotation import Annotation
from recpack.errors import DataError
from recpack.formats.sagemaker_json import Boxes, Size


class ClassNames:
    """Class names by id, as far as the files tell them; each id has one name."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.by_id: dict[int, str] = {}

    def learn(self, id_: int, name: str) -> None:
        known = self.by_id.setdefault(id_, name.strip())
        if known != name.strip():
            raise DataError(f"{self._file}: class {id_} is {known!r} and {name!r}; use one name")

    def in_order(self) -> list[str]:
        return list(dict.fromkeys(self.by_id[id_] for id_ in sorted(self.by_id)))

    def name(self, id_: int) -> str:
        return self.by_id.get(id_) or f"class_id {id_}"


def annotation_of(boxes: Boxes, names: ClassNames) -> Annotation:
    """The boxes of one image."""
    size = boxes.image_size[0] if boxes.image_size else Size(0, 0)
    annotation = Annotation("", size.width, size.height, object_count=len(boxes.annotations))
    for number, box in enumerate(boxes.annotations, 1):
        annotation.names.append(names.name(box.class_id))
        annotation.boxes += (box.left, box.top, box.left + box.width, box.top + box.height)
        annotation.difficult.append(0)
        annotation.objects.append(number)
    return annotation
