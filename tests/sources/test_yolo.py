"""YOLO folders: their layouts, and what is wrong with them. (supervision: see test_coco.)"""

from __future__ import annotations

from pathlib import Path

import pytest

import recpack
from recpack.sources.yolo.dataset import parse_labels
from recpack.sources.yolo.layout import label_path
from tests.support.datasets import CLASSES, Picture, write_voc, write_yolo

OPTIONS = {"shuffle": None, "negatives": "keep", "jobs": 1}
TWO = [
    Picture(60, 40, [(0, 1, 2, 30, 40), (2, 0, 0, 60, 40)]),
    Picture(50, 50, [(1, 5.5, 5, 20.25, 30)]),
]


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    place = write_voc(tmp_path / "voc", TWO)
    recpack.convert(place, tmp_path / "voc.rec", classes=CLASSES, **OPTIONS)
    return (tmp_path / "voc.rec").read_bytes()


def move(root: Path, *pairs: tuple[str, str]) -> None:
    for old, new in pairs:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)


@pytest.mark.parametrize(
    ("yaml", "moves"),
    [
        ("path: ../datasets/mine\ntrain: images/train\n", ()),
        ("path: /home/somebody/mine\ntrain: images/train\n", ()),
        ("train: [images/train]\nval: images/train\n", ()),
        ("train: train.txt\n", ()),
        # as Roboflow exports it
        (
            "train: ../train/images\nval: ../train/images\n",
            (("images/train", "train/images"), ("labels/train", "train/labels")),
        ),
    ],
)
def test_layouts_that_a_file_tells(
    tmp_path: Path, expected: bytes, yaml: str, moves: tuple[tuple[str, str], ...]
) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    move(root, *moves)
    (root / "data.yaml").write_text(yaml + f"nc: 3\nnames: {list(CLASSES)}\n")
    (root / "train.txt").write_text("./images/train/000.jpg\nimages/train/001.jpg\n")
    recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected
    recpack.convert(root / "data.yaml", tmp_path / "b.rec", **OPTIONS)
    assert (tmp_path / "b.rec").read_bytes() == expected


@pytest.mark.parametrize(
    ("moves", "options"),
    [
        ((), {}),
        ((("images/train", "train/images"), ("labels/train", "train/labels")), {}),
        ((("images/train", "x"), ("labels/train", "y"), ("x", "images"), ("y", "labels")), {}),
    ],
)
def test_layouts_without_one(
    tmp_path: Path,
    expected: bytes,
    moves: tuple[tuple[str, str], ...],
    options: dict[str, str],
) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "data.yaml").unlink()
    for old, new in moves:
        if new in ("images", "labels"):
            (root / new).rmdir()
        move(root, (old, new))
    for left in ("images", "labels"):
        if (root / left).is_dir() and not list((root / left).iterdir()):
            (root / left).rmdir()
    with pytest.raises(recpack.DataError, match="name them in the order of their ids"):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS, **options)
    recpack.convert(root, tmp_path / "a.rec", classes=CLASSES, **OPTIONS, **options)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    recpack.convert(root, tmp_path / "b.rec", **OPTIONS, **options)
    assert (tmp_path / "a.rec").read_bytes() == expected == (tmp_path / "b.rec").read_bytes()


def test_labels_beside_the_images(tmp_path: Path, expected: bytes) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in root.rglob("*.*"):
        if path.suffix in (".jpg", ".txt"):
            path.rename(flat / path.name)
    (flat / "classes.txt").write_text("\n".join(CLASSES))
    recpack.convert(flat, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected


def test_an_image_without_labels_is_background(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "labels/train/001.txt").unlink()
    dropped = recpack.convert(root, tmp_path / "a.rec")
    assert [(one.code, one.file) for one in dropped.problems] == [
        ("no-objects", "images/train/001.jpg")
    ]
    kept = recpack.convert(root, tmp_path / "b.rec", negatives="keep")
    assert (dropped.manifest.num_samples, kept.manifest.num_samples) == (1, 2)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("0 0.5 0.5 0.2", "row-malformed"),
        ("0 0.5 0.5 0.2 0.2 0.9", "row-malformed"),
        ("cat 0.5 0.5 0.2 0.2", "number-bad"),
        ("0.5 0.5 0.5 0.2 0.2", "number-bad"),
        ("-1 0.5 0.5 0.2 0.2", "number-bad"),
        ("0 nan 0.5 0.2 0.2", "number-bad"),
        ("0 1_0 0.5 0.2 0.2", "number-bad"),
        ("3 0.5 0.5 0.2 0.2", "class-unknown"),
        ("0 1.5 0.5 0.2 0.2", "box-off-image"),
        (b"\xff\xfe0", "annotation-unreadable"),
    ],
)
def test_rows_that_are_wrong(tmp_path: Path, row: str | bytes, code: str) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    path = root / "labels/train/000.txt"
    good = b"1 0.5 0.5 0.2 0.2\n"
    path.write_bytes(good + (row if isinstance(row, bytes) else row.encode()))
    options = OPTIONS | {"box_policy": "error"}
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(root, tmp_path / "a.rec", **options)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == (code, "labels/train/000.txt")
    assert problem.object == (0 if isinstance(row, bytes) else 2)


def test_polygons_give_their_bounds() -> None:
    found = parse_labels(b"0 0.1 0.2 0.5 0.1 0.3 0.6\n\n1 0.5 0.5 1 1\n", ("a", "b"), (100, 200))
    assert found.names == ["a", "b"]
    assert found.boxes == pytest.approx([10, 20, 50, 120, 0, 0, 100, 200])


def test_six_decimals_do_not_leave_the_image() -> None:
    found = parse_labels(b"0 0.123456 0.876544 0.246914 0.246914\n", ("a",), (1000, 1000))
    assert found.boxes == [0, pytest.approx(753.087), pytest.approx(246.913), 1000]
    assert parse_labels(b"0 0.1 0.1 0.21 0.2\n", ("a",), (100, 100)).boxes[0] < -0.4


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/train/a.b.jpg", "labels/train/a.b.txt"),
        ("x/images/images/1.png", "x/images/labels/1.txt"),
        ("images.d/1.png", "images.d/1.txt"),
        ("1.jpg", "1.txt"),
    ],
)
def test_where_labels_are(image: str, labels: str) -> None:
    assert label_path(image) == labels


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
) + "names: [*a11]\ntrain: images/train\n"  # fmt: skip


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [a\n", "can't be read"),
        ("names: 3\ntrain: images/train\n", "names: Expected"),
        ("names: {1: a}\ntrain: images/train\n", "0 to 0, each once"),
        ("names: {a: 1}\ntrain: images/train\n", "Expected `int`, got `str`"),
        (BOMB, r"names\[0\]: Expected"),
        ("names: " + "[" * 5000 + "\n", "can't be read"),
        ("names: [a]\ntrain: 3\n", "train: Expected"),
        ("names: [a]\ntrain: nowhere\n", "nowhere: there is no such folder"),
        ("names: [a]\ntrain: ../../..\n", "there is no such folder"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, yaml: str, message: str) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "data.yaml").write_text(yaml)
    with pytest.raises(recpack.DataError, match=message):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_a_list_that_leads_out(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "data.yaml").write_text(f"train: train.txt\nnames: {list(CLASSES)}\n")
    (root / "train.txt").write_text("../voc/JPEGImages/900.jpg\n/etc/passwd.jpg\n")
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert [one.code for one in caught.value.problems] == ["path-unsafe"] * 2


def test_folders_that_lead_in_a_circle(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "images/train/again").symlink_to(".")
    with pytest.raises(recpack.DataError, match="links in a circle"):
        recpack.convert(root, tmp_path / "a.rec", **OPTIONS)


def test_a_file_of_another_program_is_passed_over(tmp_path: Path, expected: bytes) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "a.yaml").write_text("version: 3\nservices: {}\n")
    (root / "b.yml").write_text("- a\n- b\n")
    recpack.convert(root, tmp_path / "a.rec", **OPTIONS)
    assert (tmp_path / "a.rec").read_bytes() == expected
