"""What SageMaker's JSON formats have in common: class names by id, and boxes.

Source: AWS developer guide, ``object-detection.html``. Boxes are left, top, width, height in
pixels. A number in quotes is that number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from recpack.data.annotation import Annotation, Defect
from recpack.errors import DataError
from recpack.formats.sagemaker_json import Boxes, Size
from recpack.problems import Problem
from recpack.sources.base import repeated_classes


class ClassNames:
    """Class names by id, as far as the files tell them; each id has one name. ``chosen`` are names
    of the user in the order of ids, for files that have no names or only some of these."""

    def __init__(self, file: str, chosen: Sequence[str] = ()) -> None:
        self._file = file
        self._chosen = dict(enumerate(chosen))
        self.by_id: dict[int, str] = {}

    def learn(self, id_: int, name: str) -> None:
        known = self.by_id.setdefault(id_, name.strip())
        if known != name.strip():
            raise DataError(f"{self._file}: class {id_} is {known!r} and {name!r}; use one name")

    def complete(self) -> None:
        """Take the names of the user, once all files are read."""
        if self.by_id.items() <= self._chosen.items():
            self.by_id = self._chosen

    def problems(self, file: str) -> Iterator[Problem]:
        """Names that several ids have; ``file`` is that of the problems."""
        return repeated_classes(file, sorted(self.by_id.items()))

    def in_order(self) -> list[str]:
        return list(dict.fromkeys(self.by_id[id_] for id_ in sorted(self.by_id)))


def annotation_of(boxes: Boxes, names: ClassNames) -> Annotation:
    """The boxes of one image. A class id without a name is a defect."""
    size = boxes.image_size[0] if boxes.image_size else Size(0, 0)
    annotation = Annotation("", size.width, size.height, object_count=len(boxes.annotations))
    for number, box in enumerate(boxes.annotations, 1):
        edges = (box.left, box.top, box.left + box.width, box.top + box.height)
        name = names.by_id.get(box.class_id)
        if not name:
            value = str(box.class_id)
            annotation.defects.append(Defect("class-undefined", number, "class_id", value))
            continue
        if not math.isfinite(sum(edges)):  # "nan" in quotes
            value = " ".join(map(str, edges))
            annotation.defects.append(Defect("number-bad", number, "box", value))
            continue
        annotation.names.append(name)
        annotation.boxes += edges
        annotation.difficult.append(0)
        annotation.objects.append(number)
    return annotation
