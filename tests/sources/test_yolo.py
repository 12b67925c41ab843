"""YOLO folders: their layouts, and what is wrong with them. (supervision: see test_coco.)"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.columns import StringColumn
from recpack.sources.yolo.dataset import YoloTask, parse_labels
from recpack.sources.yolo.keypoints import keypoint_count
from recpack.sources.yolo.layout import YoloFolder, label_path
from recpack.storage.trees.local import LocalTree
from tests.support.datasets import CLASSES, Picture, write_voc, write_yolo

OPTIONS = {"shuffle": None, "negatives": "keep", "jobs": 1}
TWO = [
    Picture(60, 40, [(0, 1, 2, 30, 40), (2, 0, 0, 60, 40)]),
    Picture(50, 50, [(1, 5.5, 5, 20.25, 30)]),
]


NAMES = YoloFolder(("a", "b"))


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
        ("3 0.5 0.5 0.2 0.2", "class-undefined"),
        ("0 30 20 10 10", "box-pixels"),
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
    found = parse_labels(b"0 0.1 0.2 0.5 0.1 0.3 0.6\n\n1 0.5 0.5 1 1\n", NAMES, (100, 200))
    assert found.names == ["a", "b"]
    assert found.boxes == pytest.approx([10, 20, 50, 120, 0, 0, 100, 200])
    told = [(one.code, one.object, one.value) for one in found.defects]
    assert told == [("box-from-polygon", 0, "1 object")]


def ultralytics(rows: list[list[float]], classes: int) -> set[tuple[float, ...]] | None:
    """The objects of a label file as ultralytics 8.4 reads it (class, centre, width, height), by
    the rules of its ``verify_image_label``; None where it leaves out the image."""
    polygons = any(len(row) > 6 for row in rows)
    lengths = {len(row) for row in rows}
    if (5 in lengths if polygons else lengths - {5}) or any(len(row) % 2 == 0 for row in rows):
        return None
    boxes = []
    for id_, *values in rows:
        x, y = values[::2], values[1::2]
        edges = min(x), min(y), max(x), max(y)
        sides = edges[2] - edges[0], edges[3] - edges[1]
        middle = (edges[0] + edges[2]) / 2, (edges[1] + edges[3]) / 2
        boxes.append((id_, *middle, *sides) if polygons else (id_, *values))
    for id_, *box in boxes:
        if max(box) > 1.01 or min(box) < -0.01 or min(box[2:]) < 0 or not 0 <= id_ < classes:
            return None
        if id_ % 1:
            return None
    return {tuple(round(value, 6) for value in box) for box in boxes}


def test_boxes_are_those_of_ultralytics() -> None:
    """Wherever it takes the file; and what it leaves out in silence is told or in the result."""
    random = np.random.RandomState(0)
    taken = left_out = 0
    for _ in range(2000):
        polygon = random.rand() < 0.3
        rows = []
        for _ in range(random.randint(1, 4)):
            odd = random.rand() < 0.1
            length = random.choice([4, 5, 6]) if odd else random.choice([6, 8]) if polygon else 4
            values = random.uniform(0, 1.03 if random.rand() < 0.1 else 1, length)
            rows.append([random.choice([0, 1, 2.5 if odd else 1]), *values.round(6)])
        rows += rows[:1] if random.rand() < 0.1 else []
        text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
        found = parse_labels(text.encode(), NAMES, (1, 1))
        theirs = ultralytics(rows, len(NAMES.names))
        if theirs is None:
            mixed = {5} < {len(row) for row in rows}
            beyond = max(value for row in rows for value in row[1:]) > 1
            left_out += 1
            assert found.defects or mixed or beyond  # whose boxes the judge clips, and says so
            continue
        taken += 1
        ours = set()
        for i, name in enumerate(found.names):
            left, top, right, bottom = found.boxes[4 * i : 4 * i + 4]
            middle = (left + right) / 2, (top + bottom) / 2
            ours.add((NAMES.names.index(name), *middle, right - left, bottom - top))
        np.testing.assert_allclose(sorted(ours), sorted(theirs), atol=5e-6)
    assert min(taken, left_out) > 200


def test_six_decimals_do_not_leave_the_image() -> None:
    found = parse_labels(b"0 0.123456 0.876544 0.246914 0.246914\n", NAMES, (1000, 1000))
    assert found.boxes == [0, pytest.approx(753.087), pytest.approx(246.913), 1000]
    assert parse_labels(b"0 0.1 0.1 0.21 0.2\n", NAMES, (100, 100)).boxes[0] < -0.4


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
        ("names: {1: a}\ntrain: images/train\n", "0 to 0, each once; also name the"),
        ("names: {0: a, 1: b, 1: c}\ntrain: images/train\n", "data.yaml: 1 stands there twice"),
        ("names: [a]\nnames: [b]\ntrain: images/train\n", "names stands there twice; keep one"),
        ("names: [a]\ntrain: nowhere\nval: images/train\n", "to read another set: --set val"),
        ("names: {a: 1}\ntrain: images/train\n", "Expected `int`, got `str`"),
        (BOMB, r"names\[0\]: Expected"),
        ("names: " + "[" * 5000 + "\n", "can't be read"),
        ("names: [a]\ntrain: 3\n", "3: there is no such folder"),
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


def convert(root: Path, **options: object) -> recpack.Result:
    options = OPTIONS | {"overwrite": True} | options
    return recpack.convert(root, root.parent / "out.rec", **options)


def told(problems: Sequence[recpack.Problem]) -> list[tuple[str, str, str]]:
    return [(one.code, one.severity, one.file) for one in problems]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)


TIGER = "0 0.5 0.5 0.2 0.4 0.42 0.32 {0}0.58 0.32 {0}0.42 0.68 {0}0.58 0.68 {0}\n"


@pytest.mark.parametrize(("shape", "flag"), [("[4, 2]", ""), ("[4, 3]", "2 "), ("[4, 3]", "1 ")])
def test_keypoints_are_not_a_polygon(tmp_path: Path, shape: str, flag: str) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "labels/train/000.txt", TIGER.format(flag))
    write(root / "labels/train/001.txt", "1 0.5 0.5 0.25 0.5\n")
    yaml = (root / "data.yaml").read_text()
    write(root / "data.yaml", yaml + f"kpt_shape: {shape}\n")
    convert(root)
    with recpack.RecordReader(tmp_path / "out.rec") as reader:
        labels = [record.label for record in reader]
    assert labels[0][2:].tolist() == pytest.approx([0, 0.4, 0.3, 0.6, 0.7])
    assert labels[1][2:].tolist() == pytest.approx([1, 0.375, 0.25, 0.625, 0.75])

    write(root / "labels/train/001.txt", "0 0.1 0.1 0.2 0.2 0.3 0.1\n")
    with pytest.raises(recpack.DataError, match=r"row-malformed: .*; 1 error"):
        convert(root)

    if flag:  # the flags show what the row is
        write(root / "labels/train/001.txt", "")
        write(root / "data.yaml", yaml)
        with pytest.raises(recpack.DataError, match="need kpt_shape"):
            convert(root)


def test_keypoints_that_nothing_declares_are_told(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    root = tmp_path / "in"
    yaml = f"train: images/train\nnames: {list(CLASSES)}\n"
    for number in range(4):
        TWO[0].write(root / f"images/train/{number}.jpg")
        x, y = random.uniform(0.2, 0.8, 2)
        row = [x, y, 0.2, 0.3]
        for _ in range(5):
            row += [x + random.uniform(-0.1, 0.1), y + random.uniform(-0.15, 0.15)]
        row[-2:] = 0, 0  # a point that is not in the image
        write(root / f"labels/train/{number}.txt", f"0 {' '.join(map(str, row))}\n" * (number > 0))
    write(root / "data.yaml", yaml)
    (problem,) = [one for one in convert(root).problems if one.severity == "warning"]
    assert told([problem]) == [("keypoints-likely", "warning", "data.yaml")]
    write(root / "data.yaml", yaml + problem.value + "\n")  # the remedy
    assert [one.code for one in convert(root).problems] == []
    with recpack.RecordReader(tmp_path / "out.rec") as reader:
        widths = [record.boxes[0, 3] - record.boxes[0, 1] for record in reader][1:]
    assert widths == pytest.approx([0.2] * 3, abs=1e-6)


def test_no_polygon_looks_like_keypoints() -> None:
    random = np.random.RandomState(0)
    for count, scale, ordered in itertools.product((4, 5, 8), (0.02, 0.1, 0.3), (True, False)):
        rows = []
        for _ in range(60):  # about the centre of the image, where it is hardest
            angles = random.uniform(0, 7) + np.arange(count) * 2 * np.pi / count
            radius = scale * random.uniform(0.3, 1, count)
            points = 0.5 + np.column_stack([np.cos(angles), np.sin(angles)]) * radius[:, None]
            order = np.arange(count) if ordered else random.permutation(count)
            rows.append([0.0, *points[order].ravel().tolist()])
        for start in range(0, 60, 3):
            assert keypoint_count(rows[start : start + 3]) == 0
    assert keypoint_count([]) == 0


def test_a_polygon_on_the_border_is_not_keypoints() -> None:
    row = b"0 0.1 0 0.9 0 1 0.1 1 0.9 0.9 1 0.1 1 0 0.9 0 0.1\n"
    assert parse_labels(row, NAMES, (10, 10)).boxes == [0, 0, 10, 10]


def test_an_id_without_a_name_is_never_a_class(tmp_path: Path) -> None:
    for number in (0, 1):
        TWO[0].write(tmp_path / "in" / f"{number}.jpg")
        write(tmp_path / "in" / f"{number}.txt", f"{number} 0.5 0.5 0.25 0.5\n")
    write(tmp_path / "in/classes.txt", "cat\n")
    for options in ({}, {"classes": "auto"}, {"classes": ["cat"], "unknown_class": "skip"}):
        with pytest.raises(recpack.DataError) as caught:
            convert(tmp_path / "in", **options)
        assert told(caught.value.problems) == [("class-undefined", "error", "1.txt")]
        assert caught.value.problems[0].value == "1 (line 1; classes.txt: 1 name)"
    skipped = convert(tmp_path / "in", classes="auto", on_error="skip").manifest
    assert (skipped.num_samples, skipped.classes) == (1, ("cat",))
    named = convert(tmp_path / "in", classes=["cat", "dog"])
    assert (named.manifest.objects, named.problems) == ({"cat": 1, "dog": 1}, [])
    write(tmp_path / "in/classes.txt", "cat\ndog\n")
    assert convert(tmp_path / "in").manifest.objects == {"cat": 1, "dog": 1}
    # other names are a choice
    with pytest.raises(recpack.DataError, match=r"class-unknown: .*; 1 error"):
        convert(tmp_path / "in", classes=["dog"])


def test_a_flat_folder_without_names(tmp_path: Path) -> None:
    for number in (0, 1):
        TWO[0].write(tmp_path / "in" / f"{number}.jpg")
        write(tmp_path / "in" / f"{number}.txt", "")
    with pytest.raises(recpack.DataError, match="no VOC"):  # texts of any kind
        convert(tmp_path / "in", classes=["cat", "dog"])
    write(tmp_path / "in/1.txt", "1 0.5 0.5 0.25 0.5\n")
    with pytest.raises(recpack.DataError, match="name them in the order of their ids"):
        convert(tmp_path / "in")
    for options in ({}, {"source_format": "yolo"}):
        found = convert(tmp_path / "in", classes=["cat", "dog"], **options)
        assert found.manifest.objects == {"cat": 0, "dog": 1}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[yes, no, 007, ' a b ']", ["yes", "no", "007", "a b"]),
        ("[010, 1_000, 12:30]", ["010", "1_000", "12:30"]),
        ("{0: null, 2: ~, 1: 1.50}", ["null", "1.50", "~"]),
        ("\n- 2024-01-01\n- 0x1F\n- .inf", ["2024-01-01", "0x1F", ".inf"]),
    ],
)
def test_names_are_the_text_of_the_file(tmp_path: Path, text: str, names: list[str]) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "data.yaml", f"train: images/train\ntest: null\nnc: {len(names)}\nnames: {text}")
    found = convert(root)
    assert (found.manifest.classes, found.problems) == (tuple(names), [])


def test_an_empty_name_is_no_name(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "data.yaml", "train: images/train\nnames: [a, '', b]\n")
    with pytest.raises(recpack.DataError, match="names: id 1 has no name"):
        convert(root)
    (root / "data.yaml").unlink()
    write(root / "classes.txt", "a\n\nb\n\n")
    with pytest.raises(recpack.DataError, match="an empty line after 'a'"):
        convert(root)


def test_pixels_are_told_from_ratios_that_leave_the_image(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "labels/train/000.txt", "0 0.9 0.5 0.4 0.2\n1 30 20 12 9\n")
    with pytest.raises(
        recpack.DataError, match=r"the box edges look like pixels.*(?s:.)*object 2"
    ) as found:
        convert(root)
    codes = [one.code for one in found.value.problems]
    assert sorted(codes) == ["box-outside", "box-pixels"]


def test_nc_that_is_not_the_number_of_names(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "data.yaml", "train: images/train\nnc: 3\nnames: [a, b]\n")
    with pytest.raises(recpack.DataError) as caught:
        convert(root)
    assert told(caught.value.problems) == [
        ("class-count", "error", "data.yaml"),
        ("class-undefined", "error", "labels/train/000.txt"),
    ]
    assert convert(root, classes=["a", "b", "c"]).problems == []
    write(root / "data.yaml", "train: images/train\nnc: 3\nnames: [a, b, c]\n")
    assert convert(root).problems == []


def test_one_name_for_two_ids(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "data.yaml", "train: images/train\nnames: [a, b, a]\n")
    found = convert(root)
    assert told(found.problems) == [("class-repeated", "warning", "data.yaml")]
    assert found.problems[0].value == "'a': 0, 2"


def test_an_image_that_is_listed_twice_is_packed_once(tmp_path: Path, expected: bytes) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "data.yaml", f"train: [train.txt, images/train]\nnames: {list(CLASSES)}\n")
    write(root / "train.txt", "./images/train/000.jpg\nimages/train/000.jpg\n")
    found = convert(root)
    assert told(found.problems) == [("image-repeated", "warning", "images/train/000.jpg")]
    assert (tmp_path / "out.rec").read_bytes() == expected


def test_labels_of_two_images_are_told(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    picture = (root / "images/train/000.jpg").read_bytes()
    (root / "images/train/000.jpeg").write_bytes(picture)
    for name in ("b.jpg", "b.jpeg"):  # background has no labels
        (root / "images/train" / name).write_bytes(picture)
    found = told(convert(root, negatives="drop").problems)
    assert ("image-ambiguous", "warning", "labels/train/000.txt") in found
    assert [code for code, _, _ in found].count("image-ambiguous") == 1


def test_labels_without_image(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    write(root / "labels/train/classes.txt", "cat\ndog\n")
    write(root / "labels/train/900.txt", "0 0.5 0.5 0.25 0.5\n")
    write(root / "labels/train/more/901.txt", "0 0.5 0.5 0.25 0.5\n")
    write(root / "labels/val/902.txt", "0 0.5 0.5 0.25 0.5\n")  # of another image set
    unused = [
        ("annotation-unused", "warning", f"labels/train/{name}.txt") for name in ("900", "more/901")
    ]
    assert told(convert(root).problems) == unused
    yaml = (root / "data.yaml").read_text()
    write(root / "data.yaml", yaml.replace("images/train", "[images/train, images/train]"))
    repeated = [("image-repeated", "warning", f"images/train/00{n}.jpg") for n in (0, 1)]
    assert told(convert(root).problems) == repeated + unused


def test_background_without_label_file_is_told(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "in", TWO)
    (root / "labels/train/001.txt").unlink()
    (root / "labels/train").rename(root / "labels/other")
    found = convert(root, strict=True)
    assert told(found.problems) == [
        ("labels-missing", "note", f"images/train/{name}.jpg") for name in ("000", "001")
    ]


def test_labels_of_an_unsafe_image_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []

    def record(path: object, *args: Any, **more: Any) -> object:
        opened.append(path)
        return actual(path, *args, **more)

    actual: Any = os.open
    outside = str(tmp_path / "x.jpg")
    root = tmp_path / "root"
    root.mkdir()
    images = ["../x.jpg", outside, "in.jpg"]
    task = YoloTask(
        LocalTree(str(root), follow_links=True), 0,
        StringColumn(images), [label_path(image) for image in images], NAMES,
    )  # fmt: skip
    monkeypatch.setattr(os, "open", record)
    found = [item.defect.code for item in task.read() if item.defect is not None]
    monkeypatch.undo()
    assert found == ["path-unsafe", "path-unsafe", "image-missing"]
    assert opened[1:] == ["in.jpg", "in.txt"]
