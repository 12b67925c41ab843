"""``RecordDataset``: the samples of ``.rec`` files by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from recpack.display import brief
from recpack.settings import takes
from recpack.torch.records import ImageRecords, PathOrPaths
from recpack.torch.samples import SampleMaker
from recpack.torch.settings import SampleSettings


class RecordDataset(Dataset[Any]):
    """The samples of a ``.rec`` file, of several, or of a set of shards by its name; each by path
    or ``s3://…``.

    A sample is ``(image, label)`` with the class id as an int, or the float32 tensor of a label of
    several numbers; of a detection file it is ``(image, target)``, and ``target`` what the
    detectors of torchvision take:

    - ``boxes``: float32 (n, 4), xmin, ymin, xmax, ymax in pixels of the image; (0, 4) without
      objects
    - ``labels``: int64 (n,), class ids plus ``label_offset``: 1, because 0 is the background for
      these detectors
    - ``image_id``: int, the sample's position in the data set

    Records without an image, in files of faces, are left out.

    ``decode``: ``"opencv"`` or ``"torchvision"`` give uint8 (3, height, width), red first, upright;
    None gives the encoded bytes; a function gets these bytes, and gives what it likes. ·
    ``targets``: ``"tensors"`` as above; ``"tv_tensors"``: images and boxes are those of
    ``torchvision.tv_tensors``, for ``transforms.v2``; ``"label"``: the stored numbers, float32
    (n,); a function gets the ``Record``. · ``transform`` gets the image, or ``transforms`` image
    and target. · ``mapped``, ``index``, ``endpoint_url``, ``requester_pays``: see ``RecordReader``.

    The indexes are read at once, files opened where samples are read: workers of a ``DataLoader``
    may be forked or spawned. Raises RecordError for a file or a record that can't be read.
    """

    @takes(SampleSettings)
    def __init__(self, path: PathOrPaths, settings: SampleSettings) -> None:
        self._records = ImageRecords(path, settings)
        self._make = SampleMaker(settings, self._records.path)

    def __repr__(self) -> str:
        return brief(self, path=self._records.name, samples=len(self))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, position: int) -> Any:
        position = self._place(position)
        return self._make(self._records[position], position)

    def __getitems__(self, positions: Sequence[int]) -> list[Any]:
        """The samples at these positions, in this order."""
        places = [self._place(position) for position in positions]
        return list(map(self._make, self._records.read_many(places), places))

    def _place(self, position: int) -> int:
        count = len(self)
        if not -count <= position < count:
            raise IndexError(f"no sample {position}; there are {count:,}, from 0")
        return position if position >= 0 else position + count
