"""Tables of images and their labels."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from recpack.formats.manifest import Source
from recpack.sources.table import parse_table, shows_labels
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from tests.cli.test_cli import run
from tests.conftest import Store
from tests.sources.test_layouts import images, lay
from tests.support.devkits import jpeg

OPTIONS: dict[str, Any] = {"shuffle": None, "jobs": 1}
CELL = st.sampled_from(
    [
        "a.jpg",
        "b c.PNG",
        "",
        " ",
        "cat",
        "0",
        "1",
        "0.5",
        "nan",
        "a,b",
        "x;y",
        'q"q',
        "image",
        "label",
        "\n",
    ]
)
NAMES = ("a.jpg", "b.jpg", "c.jpg")


def table(folder: Path, text: str | bytes, name: str = "x.csv") -> Path:
    """A table beside three images."""
    lay(folder, images(*NAMES))
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def labels(path: Path | str, folder: Path, **options: Any) -> tuple[dict[str, list[float]], Any]:
    """The label of each image, and the classes."""
    result = recpack.convert(path, folder / "out.rec", overwrite=True, **(OPTIONS | options))
    lines = [line.split("\t") for line in (folder / "out.lst").read_text().splitlines()]
    return {row[-1]: list(map(float, row[1:-1])) for row in lines}, result.manifest


@pytest.mark.parametrize(
    ("text", "expected", "classes"),
    [
        ("a.jpg,dog\nb.jpg,cat\n", ([1], [0]), ["cat", "dog"]),
        ("filename,label\na.jpg,dog\nb.jpg,cat\n", ([1], [0]), ["cat", "dog"]),
        ("label;path\ndog;a.jpg\ncat;b.jpg\n", ([1], [0]), ["cat", "dog"]),
        ("a.jpg\tdog\r\n\r\nb.jpg\tcat", ([1], [0]), ["cat", "dog"]),
        ('"a.jpg","a dog, big"\n"b.jpg","cat"', ([0], [1]), ["a dog, big", "cat"]),
        ("x;y,a.jpg\ncat,b.jpg", ([0, 1, 1], [1, 0, 0]), ["cat", "x", "y"]),
        ("a.jpg;cat,small\nb.jpg;dog", ([0], [1]), ["cat,small", "dog"]),
        (",image_path,class,class_id\n0,a.jpg,dog,7\n1,b.jpg,cat,3\n", ([1], [0]), ["cat", "dog"]),
        ("image,label\na.jpg,2\nb.jpg,0\n", ([2], [0]), ["0", "1", "2"]),
        ("image,label\na.jpg,2.0\nb.jpg,0.0\n", ([2], [0]), ["0", "1", "2"]),
        ("filename, cat, dog\na.jpg, 1, 0\nb.jpg, 1, 1\n", ([1, 0], [1, 1]), ["cat", "dog"]),
        ("a.jpg,1,0\nb.jpg,1,1\n", ([1, 0], [1, 1]), ["0", "1"]),
        ("file,tags\na.jpg,dog|cat\nb.jpg,bird\n", ([0, 1, 1], [1, 0, 0]), ["bird", "cat", "dog"]),
        ("file,tags\na.jpg,dog;cat\nb.jpg,bird\n", ([0, 1, 1], [1, 0, 0]), ["bird", "cat", "dog"]),
        ("a.jpg,dog,cat\nb.jpg,bird\n", ([0, 1, 1], [1, 0, 0]), ["bird", "cat", "dog"]),
        ("a.jpg,c\nb.jpg\nc.jpg,a,b,c\n", ([0, 0, 1], [1, 1, 1]), ["a", "b", "c"]),
        ("image,age\na.jpg,30.5\nb.jpg,-2\n", ([30.5], [-2]), ["none"]),
        ("image,x,y\na.jpg,0.25,7\nb.jpg,-1,1e3\n", ([0.25, 7], [-1, 1000]), ["none"]),
        ("image,sign\na.jpg,-1\nb.jpg,1\n", ([-1], [1]), ["none"]),
    ],
    ids=str,
)
def test_labels(
    tmp_path: Path, text: str, expected: tuple[list[float], ...], classes: list[str]
) -> None:
    found, manifest = labels(table(tmp_path, text), tmp_path)
    names = NAMES if "c.jpg" not in text else ("a.jpg", "c.jpg")  # b.jpg has no class
    assert found == dict(zip(names, expected, strict=False))
    assert list(manifest.classes) == classes
    assert (manifest.header_width, manifest.object_width) == (0, 0)
    assert manifest.label_width == len(expected[0])
    assert manifest.source["format"] == "csv"
    if len(expected[0]) > 1 and classes != ["none"]:
        assert list(manifest.objects.values()) == [sum(one) for one in zip(*expected, strict=True)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    text = end.join(["filename,label", "a.jpg,猫", "b.jpg,dog", ""])
    found, manifest = labels(table(tmp_path, text.encode(encoding)), tmp_path)
    assert found == {"a.jpg": [1], "b.jpg": [0]}
    assert list(manifest.classes) == ["dog", "猫"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,label\na.jpg,cat\nb.jpg\n", ("table-row", "x.csv line 3", "", "1 columns")),
        ("image,label\na.jpg,cat\nb.jpg,x,y\n", ("table-row", "x.csv line 3", "", "3 columns")),
        ("image,label\na.jpg,cat\n,dog\n", ("table-row", "x.csv line 3", "", "it has no image")),
        ("image,label\na.jpg,cat\nb.jpg,\n", ("image-unclassified", "x.csv line 3", "label", "")),
        ("image,x\na.jpg,0.5\nb.jpg,nan\n", ("number-bad", "x.csv line 3", "x", "nan")),
        ("image,x\na.jpg,0.5\nb.jpg,1e99\n", ("number-bad", "x.csv line 3", "x", "1e99")),
        ("image,x,y\na.jpg,0,1\nb.jpg,,1\n", ("number-bad", "x.csv line 3", "x", "")),
        ("a.jpg,cat\n\n\nz.jpg,cat\n", ("image-missing", "x.csv line 4", "filename", "z.jpg")),
        ("a.jpg,cat\nb.txt,cat\n", ("image-missing", "x.csv line 2", "filename", "b.txt")),
        (
            "a.jpg,cat\na.jpg,dog\nb.jpg,cat",
            ("image-repeated", "x.csv line 1", "image", "a.jpg in"),
        ),
    ],
    ids=str,
)
def test_bad_rows(tmp_path: Path, text: str, problem: tuple[str, ...]) -> None:
    check = recpack.check(table(tmp_path, text), jobs=1)
    found = [one for one in check.problems if one.severity == "error"]
    assert (found[0].code, found[0].file, found[0].field) == problem[:3]
    assert found[0].value.startswith(problem[3])
    assert check.refused
    assert recpack.check(tmp_path / "x.csv", jobs=1, on_error="skip").samples == 1


def test_a_row_twice_counts_once(tmp_path: Path) -> None:
    check = recpack.check(table(tmp_path, "a.jpg,cat|dog\nb.jpg,cat\na.jpg,dog|cat\n"), jobs=1)
    assert (check.samples, check.refused) == (2, False)
    assert [(one.code, one.file) for one in check.problems if one.severity == "warning"] == [
        ("image-repeated", "x.csv line 3")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv: the table is empty"),
        ("image,label\n", "x.csv: there are headings, but no rows"),
        ("a,b\n", r"x.csv is a table \(CSV\), which recpack does not read"),
        ("id,breed\n0a1,dog\n", r"x.csv line 2: id is '0a1': no name of an image; write the names"),
        ("image\na.jpg\n", "x.csv: there is no column of labels"),
        ("image,label\na.jpg,\n", "x.csv: no row has a label in label"),
        ("image,a,b\na.jpg,cat,0.7\n", "x.csv: the columns a, b hold numbers and names"),
        ("image,a,a\na.jpg,1,0\n", "x.csv: several columns are called 'a'"),
        ("image,label\na.jpg,70000\n", "label is 70000, and class ids are 0 to 65535"),
        ('image,label\na.jpg,"cat\n', "x.csv line 2: unexpected end of data; close each quote"),
        (b"image,label\na.jpg,caf\xe9\n", "x.csv line 2: it is not UTF-8; save the table as CSV"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,6,4,cat,1,1,2,2\n", "a table"),
        ("a.jpg,1,1,20,20,cat\n", "a table"),
        ("filename,file_size,region_count\na.jpg,1,2", "is a project of VIA"),
        ("x.jpg,cat\n", "x.jpg is in none of the folders"),
    ],
    ids=str,
)
def test_tables_that_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(recpack.DataError, match=message):
        recpack.check(table(tmp_path, text), jobs=1)


def test_classes_of_the_user(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label\na.jpg,cat\nb.jpg,dog\nc.jpg,cow\n")
    with pytest.raises(recpack.DataError, match="1 class is not in the chosen classes: cow"):
        labels(path, tmp_path, classes="dog,cat")
    assert labels(path, tmp_path, classes="dog,cat", unknown_class="skip")[0] == {
        "a.jpg": [1], "b.jpg": [0],
    }  # fmt: skip
    path = table(tmp_path, "image,label\na.jpg,0\nb.jpg,2\nc.jpg,10\n")
    found, manifest = labels(path, tmp_path, classes="auto")
    assert found["c.jpg"] == [10]
    with pytest.raises(recpack.DataError, match="class-undefined"):
        labels(path, tmp_path, classes="x,y,z")
    found, manifest = labels(path, tmp_path, classes="x,y,z", on_error="skip")
    assert (found, manifest.classes) == ({"a.jpg": [0], "b.jpg": [2]}, ("x", "y", "z"))
    path = table(tmp_path, "a.jpg,1,0\nb.jpg,1,1\n")
    assert labels(path, tmp_path, classes="x,y")[1].objects == {"x": 2, "y": 1}
    with pytest.raises(recpack.ConfigError, match=r"3 names, but x\.csv has 2 columns"):
        labels(path, tmp_path, classes="x,y,z")
    path = table(tmp_path, "image,x\na.jpg,0.5\n")
    with pytest.raises(recpack.ConfigError, match="classes: the labels of this data set are numb"):
        labels(path, tmp_path, classes="x,y,z")


def test_images_of_no_class_in_a_table_of_several(tmp_path: Path) -> None:
    path = table(tmp_path, "image,cat,dog\na.jpg,1,0\nb.jpg,0,0\n")
    found, manifest = labels(path, tmp_path)
    assert found == {"a.jpg": [1, 0]}
    assert manifest.problems == {"dropped image": {"no-objects": 1}}
    assert labels(path, tmp_path, negatives="keep")[0] == {"a.jpg": [1, 0], "b.jpg": [0, 0]}
    check = recpack.check(path, jobs=1, negatives="keep")
    assert (check.labels, check.classes) == ("classes", {"cat": 1, "dog": 0})
    assert check.objects_per_image == {"< 1": 1, "1": 1}


def test_classes_that_are_not_chosen_are_left_out_of_a_label(tmp_path: Path) -> None:
    path = table(tmp_path, "a.jpg,cat|dog\nb.jpg,cow\nc.jpg,dog|cow\n")
    found, manifest = labels(path, tmp_path, classes="dog,cat", unknown_class="skip")
    assert found == {"a.jpg": [1, 1], "c.jpg": [1, 0]}
    assert manifest.problems == {
        "dropped class": {"class-unknown": 2}, "dropped image": {"no-objects": 1},
    }  # fmt: skip


def test_a_table_whose_rows_are_all_bad(tmp_path: Path) -> None:
    check = recpack.check(table(tmp_path, "image,x\na.jpg,nan\n"), jobs=1)
    assert (check.samples, check.refused) == (0, True)
    with pytest.raises(recpack.DataError, match="there is no table in it"):
        recpack.check(lay(tmp_path / "in", images("a.jpg")), jobs=1, source_format="csv")


def test_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    check = recpack.check(table(tmp_path, "image,label,who\na.jpg,cat,me\n"), jobs=1)
    assert [(one.code, one.value, one.severity) for one in check.problems] == [
        ("column-unread", "who", "note")
    ]


def test_where_the_images_are(tmp_path: Path) -> None:
    lay(tmp_path / "in", images("images/sub/a.jpg", "images/B.jpg"))
    path = tmp_path / "in" / "x.csv"
    path.write_text("image,label\nsub/a.jpg,cat\nB.jpg,dog\n")
    assert list(labels(path, tmp_path)[0]) == ["images/sub/a.jpg", "images/B.jpg"]
    path.write_text("image,label\nC:\\data\\sub\\a.jpg,cat\n/home/me/b.jpg,dog\n")
    assert list(labels(path, tmp_path)[0]) == ["images/sub/a.jpg", "images/B.jpg"]
    lay(tmp_path / "other", images("a.jpg"))
    path.write_text("image,label\na.jpg,cat\n")
    assert list(labels(path, tmp_path, images=tmp_path / "other")[0]) == ["a.jpg"]
    path.write_text("image,label\n../../other/a.jpg,cat\nsub/a.jpg,dog\n")
    check = recpack.check(path, jobs=1, images=tmp_path / "in" / "images")
    assert [one.code for one in check.problems if one.severity == "error"] == ["path-ambiguous"]


def test_image_sets_of_a_column(tmp_path: Path) -> None:
    text = "image,label,split\na.jpg,dog,train\nb.jpg,cat,val\nc.jpg,dog,train\n"
    path = table(tmp_path, text)
    assert labels(path, tmp_path)[0] == {"a.jpg": [1], "c.jpg": [1]}
    assert labels(path, tmp_path, set="val")[0] == {"b.jpg": [0]}
    assert recpack.check(path, jobs=1, set="all").image_sets == {"train": 2, "val": 1}
    table(tmp_path, text, "y.csv")
    with pytest.raises(recpack.DataError, match=r"x\.csv and y\.csv have a set train; give one"):
        recpack.check(tmp_path, jobs=1, source_format="csv")


def test_a_table_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, "a.jpg,cat\n")
    monkeypatch.setattr("recpack.sources.document.most_of_document", lambda: 9)
    with pytest.raises(recpack.DataError, match=r"x\.csv: can't be read: it has 10 bytes"):
        recpack.check(path, jobs=1)
    monkeypatch.undo()
    path.write_text(f"a.jpg,{'x' * 200_000}\n")
    with pytest.raises(recpack.DataError, match=r"x\.csv line 1: field larger than field limit"):
        recpack.check(path, jobs=1)


def test_numbers_in_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", table(tmp_path, "image,age\na.jpg,30.5\nb.jpg,-2\n")) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 annotations, 2 samples\nlabel width 1\n")
    assert "class" not in out


def test_numbers_are_no_classes(tmp_path: Path) -> None:
    """Not a folder for each, though some could be class ids."""
    rec = tmp_path / "x.rec"
    recpack.convert(table(tmp_path, "image,age\na.jpg,0.33\nb.jpg,0\n"), rec, shuffle=None)
    recpack.unpack(rec, tmp_path / "out")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["JPEGImages", "x.lst"]
    rows = (tmp_path / "out" / "x.lst").read_text()
    assert rows.splitlines()[1] == "1\t0.0\tJPEGImages/b.jpg"
    assert run("inspect", rec, "--record", "0", "--json") == 0


def test_a_table_of_google(tmp_path: Path) -> None:
    path = table(tmp_path, "TRAIN,gs://bucket/a.jpg,dog\nTEST,gs://bucket/b.jpg,cat\n")
    assert labels(path, tmp_path)[0] == {"a.jpg": [1]}
    assert labels(path, tmp_path, set="TEST")[0] == {"b.jpg": [0]}
    path = table(tmp_path, "TRAIN,gs://bucket/a.jpg,dog,0.1,0.1,,,0.2,0.2,,\n")
    with pytest.raises(recpack.DataError, match="a table"):
        labels(path, tmp_path)


def test_tables_of_roboflow(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "in",
        images("train/a.jpg", "valid/b.jpg")
        | {
            "train/_classes.csv": "filename, cat, dog\na.jpg, 1, 1\n",
            "valid/_classes.csv": "filename, cat, dog\nb.jpg, 0, 1\n",
            "README.roboflow.txt": "x",
        },
    )  # fmt: skip
    found, manifest = labels(root, tmp_path)
    assert found == {"train/a.jpg": [1, 1]}
    assert manifest.source == Source("csv", ("train",))
    assert labels(root, tmp_path, set="valid")[0] == {"valid/b.jpg": [0, 1]}
    (root / "valid" / "_classes.csv").write_text("filename, dog\nb.jpg, 1\n")
    with pytest.raises(recpack.DataError, match=r"columns|labels are"):
        labels(root, tmp_path)


def test_a_folder_with_a_table(tmp_path: Path) -> None:
    path = table(tmp_path / "in", "image,label\na.jpg,cat\n")
    with pytest.raises(recpack.DataError, match=r"x.csv: it is a table of images and labels: give"):
        recpack.check(tmp_path / "in", jobs=1)
    assert recpack.check(tmp_path / "in", jobs=1, source_format="csv").samples == 1
    path.rename(tmp_path / "in" / "x.data")
    assert recpack.check(tmp_path / "in" / "x.data", jobs=1, source_format="csv").samples == 1


def test_on_s3(tmp_path: Path, store: Store) -> None:
    path = table(tmp_path, "image,label\na.jpg,cat\nb.jpg,dog\n")
    for name in ("x.csv", "a.jpg", "b.jpg"):
        where = parse_location(f"s3://{store.bucket}/in/{name}")
        put(store.access, where, (tmp_path / name).read_bytes())
    there = f"s3://{store.bucket}/in/x.csv"
    assert labels(there, tmp_path, endpoint_url=store.url)[0] == labels(path, tmp_path)[0]


def test_the_page_of_a_check(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label\na.jpg,cat\nb.jpg,dog\nb.jpg,dog\n")
    assert run("check", path, "--report", tmp_path / "a.html", "--quiet") == 0
    assert "data:image/jpeg" in (tmp_path / "a.html").read_text()


def test_split_by_class(tmp_path: Path) -> None:
    lay(tmp_path, images(*(f"{number}.jpg" for number in range(20))))
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(60 + number, 40))
    rows = "".join(f"{number}.jpg,{number % 2},{int(number < 10)}\n" for number in range(20))
    (tmp_path / "x.csv").write_text("image,a,b\n" + rows)
    result = recpack.convert(
        tmp_path / "x.csv", tmp_path / "a.rec", split="0.5/0.5", jobs=1, negatives="keep"
    )
    assert [dict(part.manifest.objects) for part in result.parts] == [{"a": 5, "b": 5}] * 2


@given(st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=6), st.sampled_from(",;\t"))
def test_any_table_is_read_or_refused(rows: list[list[str]], mark: str) -> None:
    """And what is read is what was written."""
    text = io.StringIO()
    csv.writer(text, delimiter=mark, quoting=csv.QUOTE_ALL).writerows(rows)
    with contextlib.suppress(recpack.DataError):
        found = parse_table(text.getvalue().encode(), "x.csv")
        cells = {cell.strip() for row in rows for cell in row}
        read = [row for one in found.sets.values() for row in one if not row.fault]
        assert {cell for row in read for cell in (row.image, *row.labels)} <= cells | {""}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(recpack.DataError):
        parse_table(data, "x.csv")
    assert shows_labels(data) in (True, False)
