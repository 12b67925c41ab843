"""Samples by position, and what is in them."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

import recpack
from recpack.torch import RecordDataset, RecordIterableDataset
from tests.conftest import Store
from tests.support.devkits import encode_record, jpeg
from tests.support.sets import image as shard_image
from tests.support.sets import write_set

pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create",  # few cores
    "ignore:The image decoding and encoding capabilities of TorchVision:DeprecationWarning",
)

BOXES = [[0, 0.25, 0.5, 0.75, 1], [2, 0, 0, 0.5, 0.5]]
LABEL = [2, 5, *BOXES[0], *BOXES[1]]
NONE = [2, 5, -1, -1, -1, -1, -1]


def write(path: Path, *records: tuple[Any, bytes]) -> Path:
    path.write_bytes(
        b"".join(encode_record(id_, label, image) for id_, (label, image) in enumerate(records))
    )
    return path


def lossless(width: int, height: int, seed: int = 0) -> tuple[bytes, np.ndarray[Any, Any]]:
    """A PNG, and its pixels, red first."""
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes(), pixels[:, :, ::-1]


@pytest.mark.parametrize("decode", ["opencv", "torchvision"])
def test_images_are_rgb_and_upright(tmp_path: Path, decode: Any) -> None:
    """As Pillow shows them, also grey and transparent ones and those that a camera turned."""
    pytest.importorskip("torchvision")
    colours = Image.fromarray(lossless(12, 8)[1])
    turned = Image.Exif()
    turned[0x0112] = 6
    images = {"plain": colours, "grey": colours.convert("L"), "alpha": colours.convert("RGBA")}
    files = {}
    for name, image in images.items():
        image.save(file := io.BytesIO(), "PNG")
        files[name] = file.getvalue(), np.asarray(image.convert("RGB"))
    colours.save(file := io.BytesIO(), "JPEG", quality=95, exif=turned)
    shown = Image.open(file).transpose(Image.Transpose.ROTATE_270)
    files["turned"] = file.getvalue(), np.asarray(shown)
    path = write(tmp_path / "a.rec", *((0, data) for data, _ in files.values()))
    data = RecordDataset(path, decode=decode)
    for (name, (_, pixels)), (image, label) in zip(files.items(), data, strict=True):
        assert (image.dtype, label) == (torch.uint8, 0)
        assert image.shape == (3, *pixels.shape[:2]), name
        difference = np.abs(image.permute(1, 2, 0).numpy() - pixels.astype(int)).max()
        assert difference <= (2 if name == "turned" else 0), name


def test_the_targets_of_torchvisions_detectors(tmp_path: Path) -> None:
    image, pixels = lossless(40, 20)
    data = RecordDataset(write(tmp_path / "a.rec", (LABEL, image), (NONE, image)))
    found, target = data[0]
    assert torch.equal(found, torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    assert target["boxes"].dtype == torch.float32
    assert target["boxes"].tolist() == [[10, 10, 30, 20], [0, 0, 20, 10]]
    assert target["labels"].dtype == torch.int64
    assert target["labels"].tolist() == [1, 3]
    assert target["image_id"] == 0
    empty = data[1][1]
    assert (empty["boxes"].shape, empty["labels"].shape, empty["image_id"]) == ((0, 4), (0,), 1)
    unshifted = RecordDataset(tmp_path / "a.rec", label_offset=0)
    assert unshifted[0][1]["labels"].tolist() == [0, 2]


def test_a_step_of_a_detector(tmp_path: Path) -> None:
    """The samples as they are, with and without objects."""
    detection = pytest.importorskip("torchvision.models.detection")
    image = lossless(40, 32)[0]
    data = RecordDataset(write(tmp_path / "a.rec", (LABEL, image), (NONE, image)))
    torch.manual_seed(0)
    model = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    )
    images, targets = zip(*data, strict=True)
    losses = model([one / 255 for one in images], targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_tv_tensors_move_with_the_image(tmp_path: Path) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    tv_tensors = pytest.importorskip("torchvision.tv_tensors")
    path = write(tmp_path / "a.rec", (LABEL, lossless(40, 20)[0]), (NONE, lossless(40, 20)[0]))
    data = RecordDataset(path, targets="tv_tensors")
    image, target = data[0]
    assert isinstance(image, tv_tensors.Image)
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
    assert target["boxes"].canvas_size == (20, 40)
    assert target["boxes"].format == tv_tensors.BoundingBoxFormat.XYXY
    flip = v2.Compose([v2.RandomHorizontalFlip(p=1), v2.SanitizeBoundingBoxes(), v2.ToPureTensor()])
    flipped = RecordDataset(path, targets="tv_tensors", transforms=flip)
    turned, target = flipped[0]
    assert torch.equal(turned, image.flip(-1))
    assert target["boxes"].tolist() == [[10, 10, 30, 20], [20, 0, 40, 10]]
    assert flipped[1][1]["boxes"].shape == (0, 4)


def test_labels_of_classification(tmp_path: Path) -> None:
    image = lossless(4, 4)[0]
    path = write(tmp_path / "a.rec", ([3], image), ([0, 1, 1], image), ([0.5], image))
    data = RecordDataset(path)
    assert data[0][1] == 3
    assert isinstance(data[0][1], int)
    assert data[1][1].dtype == torch.float32
    assert data[1][1].tolist() == [0, 1, 1]
    with pytest.raises(
        recpack.RecordError, match=r"a\.rec: record 2 .*0\.5 is no class id; targets="
    ):
        data[2]
    numbers = RecordDataset(path, targets="label")
    assert [label.tolist() for _, label in numbers] == [[3], [0, 1, 1], [0.5]]
    ids = RecordDataset(path, targets=lambda record: record.id)
    assert [label for _, label in ids] == [0, 1, 2]


def test_functions_of_the_user(tmp_path: Path) -> None:
    image = lossless(40, 20)[0]
    path = write(tmp_path / "a.rec", (LABEL, image))
    raw, target = RecordDataset(path, decode=None)[0]
    assert raw == image
    assert target["boxes"].tolist() == [[10, 10, 30, 20], [0, 0, 20, 10]]
    half: Any = lambda _: torch.zeros(3, 10, 20)  # noqa: E731
    assert RecordDataset(path, decode=half)[0][1]["boxes"].tolist()[0] == [5, 5, 15, 10]
    assert RecordDataset(path, decode=len)[0][0] == len(image)
    assert RecordDataset(path, transform=lambda image: image.shape)[0][0] == (3, 20, 40)
    together: Any = lambda image, target: (target, image)  # noqa: E731
    assert RecordDataset(path, transforms=together)[0][1].shape == (3, 20, 40)
    with pytest.raises(recpack.ConfigError, match="transform, transforms: give one"):
        RecordDataset(path, transform=len, transforms=together)
    with pytest.raises(recpack.ConfigError, match="targets: must be tensors"):
        RecordDataset(path, targets="boxes")


@pytest.mark.parametrize("decode", ["opencv", "torchvision", None])
def test_errors_name_the_record(tmp_path: Path, decode: Any) -> None:
    pytest.importorskip("torchvision")
    path = write(tmp_path / "a.rec", (LABEL, lossless(9, 9)[0]), (LABEL, b"no image"))
    with pytest.raises(recpack.RecordError, match=r"a\.rec: record 1 at byte \d+: ") as caught:
        RecordDataset(path, decode=decode)[1]
    assert pickle.loads(pickle.dumps(caught.value)).offset == caught.value.offset
    assert caught.value.offset


def test_tables_of_faces_are_left_out(tmp_path: Path) -> None:
    """InsightFace's layout: a table, the images, a table for each identity."""
    records = [
        ([4, 6], b""),
        *(([n], jpeg(8, 8, n)) for n in (0, 0, 1)),
        ([1, 3], b""),
        ([3, 4], b""),
    ]
    data = RecordDataset(write(tmp_path / "a.rec", *records))
    assert [label for _, label in data] == [0, 0, 1]
    assert len(data) == 3
    stream = RecordIterableDataset(tmp_path / "a.rec", decode=None)
    assert [label for _, label in stream] == [0, 0, 1]


def test_several_files_and_positions(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.rec", *(([n], b"image") for n in range(3))),
        write(tmp_path / "b.rec"),
        write(tmp_path / "c.rec", *(([n], b"image") for n in range(3, 5))),
    ]
    data = RecordDataset(paths, decode=None)
    assert [label for _, label in data] == [0, 1, 2, 3, 4]
    assert [label for _, label in data.__getitems__([4, 0, -2, 4])] == [4, 0, 3, 4]
    assert Subset(data, [3, 1])[0][1] == 3
    for position in (5, -6):
        with pytest.raises(IndexError):
            data[position]


@pytest.mark.parametrize("mapped", [True, False])
def test_a_set_of_shards_by_its_name(tmp_path: Path, mapped: bool) -> None:
    name = write_set(tmp_path, 4, 1, 6)
    data = RecordDataset(name, decode=None, mapped=mapped)
    assert [label for _, label in data] == list(range(11))
    assert data.__getitems__([9, 0]) == [(shard_image(9), 9), (shard_image(0), 0)]
    wrong = RecordDataset(name, mapped=mapped)
    with pytest.raises(recpack.RecordError, match=r"x-00002-of-00003\.rec: record 2 at byte"):
        wrong[7]


def test_a_file_that_was_replaced_is_not_read(tmp_path: Path) -> None:
    """A worker that opens it later would give samples of another data set."""
    path = write(tmp_path / "a.rec", ([0], b"image"))
    data = pickle.dumps(RecordDataset(path, decode=None))
    path.unlink()
    write(path, ([1], b"another"))
    with pytest.raises(recpack.RecordError, match=r"a\.rec: another run has just replaced it"):
        pickle.loads(data)[0]


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_it(tmp_path: Path, context: str) -> None:
    records = [([n], jpeg(12, 8, n)) for n in range(8)]
    data = RecordDataset(write(tmp_path / "a.rec", *records))
    pickle.loads(pickle.dumps(data))[0]
    loader: Any = DataLoader(data, batch_size=3, num_workers=2, multiprocessing_context=context)
    data[7]  # the file is open here when workers are forked
    images, labels = zip(*loader, strict=True)
    assert torch.cat(labels).tolist() == list(range(8))
    assert torch.equal(torch.cat(images), torch.stack([image for image, _ in data]))


def test_it_reads_from_s3(store: Store) -> None:
    url = f"s3://{store.bucket}/train/a.rec"
    with recpack.RecordWriter(url, endpoint_url=store.url) as writer:
        for number in range(9):
            writer.write(jpeg(12, 8, number), label=number)
    data = RecordDataset(url, endpoint_url=store.url)
    assert [data[position][1] for position in (8, 0, 4)] == [8, 0, 4]
    loader: Any = DataLoader(data, batch_size=2, num_workers=2, shuffle=True)
    assert sorted(torch.cat([labels for _, labels in loader]).tolist()) == list(range(9))


def test_without_torch_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("recpack.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'recpack\[torch\]'"):
        importlib.import_module("recpack.torch")


def test_without_torchvision_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.rec", (LABEL, lossless(9, 9)[0]))
    for name in ("torchvision", "torchvision.io", "torchvision.tv_tensors"):
        monkeypatch.setitem(sys.modules, name, None)
    assert RecordDataset(path)[0][0].shape == (3, 9, 9)
    for options in ({"decode": "torchvision"}, {"targets": "tv_tensors"}):
        with pytest.raises(recpack.ConfigError, match="pip install torchvision"):
            RecordDataset(path, **options)


@pytest.mark.parametrize("id_", [np.nan, np.inf, 1.5, 1e30])
def test_a_class_that_is_none_is_told(tmp_path: Path, id_: float) -> None:
    """Not a box or an image that is lost, nor another class."""
    box = write(tmp_path / "a.rec", ([2, 5, id_, 0, 0, 1, 1], jpeg()))
    one = write(tmp_path / "b.rec", ([id_], jpeg()))
    for path in (box, one):
        with pytest.raises(recpack.RecordError, match=r"no class id"):
            RecordDataset(path)[0]


def test_an_empty_image_is_no_table_of_faces(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec", ([0.0], b""), ([1.0], jpeg()))
    assert len(RecordDataset(path)) == 2
