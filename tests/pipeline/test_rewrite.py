"""Records in another order, in parts, or some of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from recpack.cli.app import main
from recpack.data.labels import detection_widths
from recpack.data.objects import Choice, choose_objects
from recpack.progress import Progress
from tests.conftest import Store
from tests.support.devkits import MAGIC, encode_record, jpeg, with_comment
from tests.support.s3server import S3Server
from tests.support.sets import shard_name, write_set

Path_ = Path | str


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(first: Path, second: Path) -> None:
    for suffix in (".rec", ".idx"):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()


def written(path: Path, labels: Sequence[Any], classes: Sequence[str] = (), size: int = 20) -> Path:
    """A record for each label, with images of 20 x ``size`` pixels that differ."""
    with recpack.RecordWriter(path, classes=list(classes)) as writer:
        for number, label in enumerate(labels):
            writer.write(jpeg(20, size, number), label=label)
    return path


def labels_of(path: Path) -> list[list[float]]:
    with recpack.RecordReader(path) as records:
        return [record.label.tolist() for record in records]


@pytest.fixture(scope="module")
def plain(devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``.rec`` in the order of the devkit; read only. Some images have magic words."""
    path = tmp_path_factory.mktemp("plain") / "plain.rec"
    recpack.convert(devkit, path, shuffle=None)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"jobs": 1},
        {"jobs": 3},  # processes that get their part of the table
        {"jobs": 2, "backend": "fork"},
        {"jobs": 2, "backend": "threading", "segment_size": "64KiB"},
    ],
    ids=str,
)
def test_shuffling_gives_what_convert_gives(
    devkit: Path, plain: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    recpack.convert(devkit, tmp_path / "a.rec", shuffle=3)
    result = recpack.shuffle(plain, tmp_path / "b.rec", seed=3, **options)
    same(tmp_path / "a.rec", tmp_path / "b.rec")
    whole = recpack.Manifest.read(tmp_path / "a.json")
    for name in ("num_samples", "classes", "label_width", "object_width", "objects"):
        assert getattr(result.manifest, name) == getattr(whole, name)
    assert result.manifest.options == {"seed": 3}
    assert result.manifest.rec["checksum"] == whole.rec["checksum"]
    assert names(tmp_path) == ["a.idx", "a.json", "a.lst", "a.rec", "b.idx", "b.json", "b.rec"]
    assert recpack.verify(tmp_path / "b.rec", reader="sagemaker").records == 120


def test_splitting_gives_what_convert_gives(devkit: Path, plain: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, tmp_path / "a.rec", split="0.7/0.2/0.1", shuffle=5)
    output = tmp_path / "b.rec"
    result = recpack.split(plain, output=output, fractions="0.7/0.2/0.1", seed=5, jobs=2)
    for part, name in zip(result.parts, ("train", "val", "test"), strict=True):
        same(tmp_path / f"a_{name}.rec", tmp_path / f"b_{name}.rec")
        assert part.manifest.classes == recpack.VOC_CLASSES
        assert part.manifest.options == {"fractions": "0.7/0.2/0.1", "seed": 5}
    assert sum(part.manifest.num_samples for part in result.parts) == 120


def test_filtering_gives_what_convert_gives(devkit: Path, plain: Path, tmp_path: Path) -> None:
    some = {"classes": ["cat", "person", "dog"], "negatives": "keep"}
    for negatives in ("drop", "keep"):
        some["negatives"] = negatives
        recpack.convert(
            devkit, tmp_path / "a.rec", shuffle=None, unknown_class="skip", overwrite=True, **some
        )
        result = recpack.filter(plain, tmp_path / "b.rec", jobs=2, overwrite=True, **some)
        same(tmp_path / "a.rec", tmp_path / "b.rec")
        whole = recpack.Manifest.read(tmp_path / "a.json")
        assert result.manifest.classes == whole.classes == ("cat", "person", "dog")
        assert result.manifest.objects == whole.objects
    assert result.manifest.num_samples == 120


def test_small_boxes_are_left_out(tmp_path: Path) -> None:
    # 20 x 40 pixels: sides of 10 and 40, 10 and 4, 9 and 40 pixels
    boxes = [[0, 0, 0, 0.5, 1], [1, 0.1, 0.2, 0.6, 0.3], [2, 0, 0, 0.45, 1]]
    labels = [[2, 5, *boxes[0], *boxes[1]], [2, 5, *boxes[2]], [2, 5, -1, -1, -1, -1, -1]]
    path = written(tmp_path / "a.rec", labels, "abc", size=40)
    recpack.filter(path, tmp_path / "b.rec", min_box=10)
    assert labels_of(tmp_path / "b.rec") == [np.float32([2, 5, *boxes[0]]).tolist()]
    result = recpack.filter(path, tmp_path / "c.rec", min_box=10, negatives="keep")
    background = [2, 5, -1, -1, -1, -1, -1]
    assert labels_of(tmp_path / "c.rec")[1:] == [background, background]
    assert result.manifest.classes == ("a", "b", "c")
    assert dict(result.manifest.objects) == {"a": 1, "b": 0, "c": 0}
    recpack.filter(path, tmp_path / "d.rec", min_box=9, classes="c,a")
    assert [label[2] for label in labels_of(tmp_path / "d.rec")] == [1, 0]


def test_wider_headers_and_objects(tmp_path: Path) -> None:
    """Labels of other tools: more floats before the first object, more in each."""
    first, second = [0, 0.1, 0.2, 0.3, 0.4, 1], [1, 0.5, 0.5, 0.75, 0.75, 0]
    labels = [[4, 6, 640, 480, *first, *second], [4, 6, 300, 200, *first], [2, 6, *second]]
    path = written(tmp_path / "a.rec", labels, ["cat", "dog"])
    recpack.filter(path, tmp_path / "b.rec", classes="dog")
    found = [label[:2] + label[-6:] for label in labels_of(tmp_path / "b.rec")]
    assert found == [[4, 6, 0, *second[1:]], [2, 6, 0, *second[1:]]]
    result = recpack.shuffle(path, tmp_path / "c.rec")
    assert (result.manifest.header_width, result.manifest.object_width) == (4, 6)
    parts = recpack.split(path, output=tmp_path / "d.rec", fractions="0.5/0.5").parts
    assert [part.manifest.num_samples for part in parts] == [2, 1]


def test_labels_of_one_class(tmp_path: Path) -> None:
    path = written(tmp_path / "a.rec", [number % 3 for number in range(60)], ["x", "y", "z"])
    result = recpack.filter(path, tmp_path / "b.rec", classes="z,x")
    assert dict(result.manifest.objects) == {"z": 20, "x": 20}
    assert labels_of(tmp_path / "b.rec") == [[1.0], [0.0]] * 20
    parts = recpack.split(path, fractions="0.8/0.2").parts
    found = [dict(part.manifest.objects) for part in parts]
    assert found == [{"x": 16, "y": 16, "z": 16}, {"x": 4, "y": 4, "z": 4}]
    assert names(tmp_path)[-6:-3] == ["a_val.idx", "a_val.json", "a_val.rec"]
    with pytest.raises(recpack.DataError, match="no label has boxes; leave min_box out"):
        recpack.filter(path, tmp_path / "c.rec", min_box=3)


def test_labels_of_several_classes(tmp_path: Path) -> None:
    """Numbers 0 and 1, one for each class, are split by class too."""
    labels = [[1.0 * (number % 3 == one) for one in range(3)] for number in range(30)]
    path = written(tmp_path / "a.rec", labels, "abc")
    recpack.split(path, fractions="0.8/0.2")
    sums = [
        np.sum(labels_of(tmp_path / f"a_{name}.rec"), axis=0).tolist() for name in ("train", "val")
    ]
    assert sums == [[8, 8, 8], [2, 2, 2]]


def test_filtering_labels_of_several_classes(tmp_path: Path) -> None:
    """Records that have one of the classes stay, with a column for each of these."""
    labels: list[Any] = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]
    path = written(tmp_path / "a.rec", labels, "abcd")
    out = tmp_path / "b.rec"
    result = recpack.filter(path, out, classes="d,a")
    assert labels_of(out) == [[0, 1], [1, 0], [1, 1]]
    assert dict(result.manifest.objects) == {"d": 2, "a": 2}
    recpack.filter(path, out, classes="d,a", negatives="keep", overwrite=True)
    assert labels_of(out) == [[0, 1], [0, 0], [1, 0], [1, 1]]
    with pytest.raises(recpack.DataError, match="choose two classes or more"):
        recpack.filter(path, out, classes="a", overwrite=True)
    (tmp_path / "a.json").unlink()
    recpack.filter(path, out, classes="3,0", overwrite=True)
    assert labels_of(out) == [[0, 1], [1, 0], [1, 1]]
    with pytest.raises(recpack.DataError, match="each of 4 classes, and class 9 is none of them"):
        recpack.filter(path, out, classes="9,0", overwrite=True)
    path = written(tmp_path / "c.rec", [[0.5, 7], [1, 2]], "ab")
    with pytest.raises(recpack.DataError, match="a vector of numbers, not 1 or 0 for each class"):
        recpack.filter(path, out, classes="a,b", overwrite=True)


def test_equal_images_stay_together(tmp_path: Path) -> None:
    with recpack.RecordWriter(tmp_path / "a.rec") as writer:
        for number in range(40):
            image = with_comment(jpeg(20, 20, number // 2), MAGIC * 2)
            writer.write(image, label=[2, 5, number % 2, 0, 0, 1, 1])
    recpack.split(tmp_path / "a.rec", fractions="0.5/0.5")
    images = []
    for name in ("train", "val"):
        with recpack.RecordReader(tmp_path / f"a_{name}.rec") as records:
            images.append({record.image_bytes for record in records})
    assert len(images[0]) + len(images[1]) == 20
    assert not images[0] & images[1]


def test_without_a_manifest_classes_are_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.rec", [[2, 5, id_, 0, 0, 1, 1] for id_ in (0, 3, 7)])
    (tmp_path / "a.json").unlink()
    result = recpack.filter(path, tmp_path / "b.rec", classes="7,3")
    assert result.manifest.classes == ("7", "3")
    assert [label[2] for label in labels_of(tmp_path / "b.rec")] == [1, 0]
    assert recpack.shuffle(path, tmp_path / "c.rec").manifest.classes == tuple("01234567")
    with pytest.raises(recpack.DataError, match="no class cat; its classes are numbers"):
        recpack.filter(path, tmp_path / "d.rec", classes="cat")


def test_the_index_only_helps(plain: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected.rec"
    recpack.shuffle(plain, expected, seed=1)
    path = tmp_path / "a.rec"
    path.write_bytes(plain.read_bytes())
    lines = plain.with_suffix(".idx").read_text().splitlines(keepends=True)
    for text in (
        None, "nonsense\n", "".join(reversed(lines)), "".join(lines[:-1]), "".join(lines[::2]),
        "".join(lines).replace("\t", "\t1", 1), "".join(lines[:3]) + "9999\t5000\n",
    ):  # fmt: skip
        path.with_suffix(".idx").unlink(missing_ok=True)
        if text is not None:
            path.with_suffix(".idx").write_text(text)
        recpack.shuffle(path, tmp_path / "b.rec", seed=1, overwrite=True, jobs=2)
        same(expected, tmp_path / "b.rec")


def test_one_record(tmp_path: Path) -> None:
    path = written(tmp_path / "a.rec", [7])
    assert recpack.shuffle(path, tmp_path / "b.rec").manifest.num_samples == 1
    same(path, tmp_path / "b.rec")
    with pytest.raises(recpack.DataError, match="split: no sample is left for val"):
        recpack.split(path)
    assert len(names(tmp_path)) == 6


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out" / "b.rec"
    for one in (folder, out.parent):
        one.mkdir()
    a = written(folder / "a.rec", [[2, 5, 0, 0, 0, 1, 1]] * 3, ["x"])
    t = written(folder / "t_train.rec", [[2, 5, 0, 0, 0, 1, 1]] * 3, ["x"])
    whole = a.read_bytes()
    (folder / "empty.rec").touch()
    (folder / "cut.rec").write_bytes(whole[:-40])
    (folder / "other.rec").write_bytes(whole)
    manifest = (folder / "a.json").read_text()
    (folder / "other.json").write_text(manifest.replace(str(len(whole)), "1234"))
    (folder / "text.rec").write_text("this is no file of records at all")
    (folder / "table.rec").write_bytes(
        encode_record(0, [1.0, 2.0], b"") + encode_record(1, [0.0], jpeg())
    )
    (folder / "alien.rec").write_bytes(encode_record(0, [2, 5, 4, 0, 0, 1, 1], jpeg()))
    (folder / "alien.json").write_text(manifest.replace(str(len(whole)), "null"))
    (folder / "blind.rec").write_bytes(encode_record(0, [2, 5, 0, 0, 0, 1, 1], b"no image"))
    before = names(folder)
    last = int((folder / "a.idx").read_text().split()[-1])
    for command, code, message in (
        (["shuffle", a, a], 2, "a.rec is also an input; choose another name"),
        (["shuffle", a, folder / "." / "a.rec"], 2, "is also an input"),
        (["split", t, folder / "t.rec"], 2, "t_train.rec is also an input"),
        (["shuffle", folder / "none.rec", out], 1, "none.rec"),
        (["shuffle", folder / "empty.rec", out], 1, "empty.rec: it is empty"),
        (["shuffle", folder / "cut.rec", out], 1, f"cut.rec: the record at byte {last} claims"),
        (["shuffle", folder / "text.rec", out], 1, "no record at byte 0"),
        (["split", folder / "other.rec", out], 1, "its manifest says"),
        (["shuffle", folder / "table.rec", out], 1, "byte 0 has no image: it is a table of ids"),
        (["shuffle", folder / "alien.rec", out], 1, "alien.rec: classes: 1 names, but"),
        (["filter", folder / "alien.rec", out, "--classes", "x"], 1, "class id 4 in a label"),
        (["filter", a, out], 2, "give one of them at least"),
        (["filter", a, out, "--min-box", "-1"], 2, "must be at least 0 pixels"),
        (
            ["filter", a, out, "--classes", "x,y"],
            1,
            "a.rec: there is no class y; its classes are x",
        ),
        (["filter", a, out, "--classes", "auto"], 2, "auto takes all"),
        (["filter", a, out, "--min-box", "4000"], 1, "no record is left"),
        (["filter", folder / "blind.rec", out, "--min-box", "4"], 1, "whose size can't be read"),
        (["split", a, out, "--fractions", "0.8/0.3"], 2, "--fractions must be two or three"),
        (["shuffle", a, out, "--seed", "-1"], 2, "--seed must be 0 to"),
    ):
        assert main([str(word) for word in command]) == code, command
        assert message in capsys.readouterr().err
    assert names(folder) == before
    assert names(out.parent) == []


def test_an_output_that_is_there_stays(plain: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a_val.rec", [1])
    with pytest.raises(recpack.SinkError, match="--overwrite"):
        recpack.split(plain, output=tmp_path / "a.rec")
    assert labels_of(path) == [[1.0]]
    recpack.split(plain, output=tmp_path / "a.rec", overwrite=True)
    assert len(labels_of(path)) == 27


@pytest.mark.parametrize("how", ["changed", "replaced", "stopped"])
def test_nothing_is_half_written(plain: Path, tmp_path: Path, how: str) -> None:
    """The file changes, another takes its name, or Ctrl-C, when its labels are read."""
    path, out = tmp_path / "a.rec", tmp_path / "out"
    path.write_bytes(plain.read_bytes())
    out.mkdir()

    def watch(progress: Progress) -> None:
        if progress.stage == "read":
            if how == "stopped":
                raise KeyboardInterrupt
            if how == "replaced":
                path.rename(tmp_path / "b.rec")
            with path.open("r+b" if how == "changed" else "wb") as file:
                file.write(b"x")

    error, text = (KeyboardInterrupt, None) if how == "stopped" else (recpack.DataError, "chang")
    with pytest.raises(error, match=text):
        recpack.shuffle(path, out / "b.rec", progress=watch, jobs=2, segment_size="64KiB")
    assert names(out) == []


@pytest.mark.parametrize("indexed", [True, False])
def test_a_set_of_shards(tmp_path: Path, indexed: bool) -> None:
    """It is read like one file."""
    whole = write_set(tmp_path, 81, name="whole").with_name("whole-00000-of-00001.rec")
    path = write_set(tmp_path, 50, 1, 30)
    names_81 = tuple(map(str, range(81)))
    manifest = replace(recpack.Manifest.read(path.with_suffix(".json")), classes=names_81)
    path.with_suffix(".json").write_text(manifest.to_json())
    if not indexed:
        path.with_name(shard_name(1, 3)).with_suffix(".idx").unlink()
    for name, source in (("a", whole), ("b", path)):
        recpack.shuffle(source, tmp_path / f"{name}.rec", seed=4, jobs=2)
        recpack.split(source, output=tmp_path / f"{name}.rec", jobs=2)
    for name in ("", "_train", "_val"):
        same(tmp_path / f"a{name}.rec", tmp_path / f"b{name}.rec")
    for source, output in ((path, path.with_name(shard_name(1, 3))),
                           (path.with_name(shard_name(1, 3)), path)):  # fmt: skip
        with pytest.raises(recpack.ConfigError, match="is also an input"):
            recpack.shuffle(source, output, overwrite=True)


def test_shards_are_written(devkit: Path, plain: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.rec", tmp_path / "b.rec"
    recpack.convert(devkit, first, shuffle=3, shards=4)
    result = recpack.shuffle(plain, second, seed=3, shards=4, jobs=2)
    assert [shard["name"] for shard in result.manifest.shards] == [
        shard_name(number, 4, "b") for number in range(4)
    ]
    assert recpack.verify(second).records == 120
    recpack.convert(devkit, first, shuffle=3, shards=4, split="0.7/0.3")
    recpack.split(plain, output=second, fractions="0.7/0.3", seed=3, shards=4)
    made = sorted(path.name for path in tmp_path.glob("a*.rec"))
    assert len(made) == 12
    for name in made:
        same(tmp_path / name, tmp_path / name.replace("a", "b", 1))
    assert not list(tmp_path.glob("b*.lst"))


def test_between_stores(devkit: Path, plain: Path, tmp_path: Path, store: Store) -> None:
    def url(name: str) -> str:
        return f"s3://{store.bucket}/{name}/{name}.rec"

    at: dict[str, Any] = {"endpoint_url": store.url}
    expected = tmp_path / "expected.rec"
    recpack.shuffle(plain, expected, seed=2)
    checksum = recpack.Manifest.read(tmp_path / "expected.json").rec["checksum"]
    for source, output in ((plain, url("a")), (url("a"), url("b")), (url("b"), tmp_path / "c.rec")):
        recpack.shuffle(source, output, seed=2, jobs=2, overwrite=True, **at)
    recpack.convert(devkit, url("plain"), shuffle=None, **at)
    result = recpack.shuffle(url("plain"), url("d"), seed=2, jobs=2, **at)
    assert result.manifest.rec["checksum"] == checksum
    assert recpack.verify(url("d"), deep=True, **at).records == 120
    place = store.at("_recpack/plain.idx")
    store.access.call("delete_object", Bucket=place.bucket, Key=place.key)
    recpack.filter(url("plain"), tmp_path / "e.rec", min_box=20, **at)
    recpack.filter(plain, tmp_path / "f.rec", min_box=20)
    same(tmp_path / "e.rec", tmp_path / "f.rec")
    command = ["split", url("plain"), "--endpoint-url", store.url, "--quiet"]
    assert main(command) == 0
    assert recpack.verify(f"s3://{store.bucket}/plain/val/plain_val.rec", **at).bytes > 0
    with pytest.raises(recpack.ConfigError, match="is also an input"):
        recpack.shuffle(url("plain"), url("plain"), overwrite=True, **at)


def test_requests_to_s3(plain: Path, tmp_path: Path, hostile: S3Server) -> None:
    """Neighbours come together; and a new object in the place of the source ends the run."""
    url = "s3://bucket/a/a.rec"
    at: dict[str, Any] = {"endpoint_url": hostile.url, "jobs": 1}
    recpack.shuffle(plain, url, seed=1, **at)
    hostile.requests.clear()
    recpack.filter(url, tmp_path / "b.rec", min_box=1, **at)
    read = [one for one in hostile.requests if one.name == "get_object" and one.key == "a/a.rec"]
    assert 0 < len(read) < 30  # of 120 records

    def watch(progress: Progress) -> None:
        if progress.stage == "read":
            hostile.objects["a/a.rec"] = replace(hostile.objects["a/a.rec"], etag="another")

    before = names(tmp_path)
    with pytest.raises(recpack.DataError, match="changed"):
        recpack.shuffle(url, tmp_path / "c.rec", progress=watch, **at)
    assert names(tmp_path) == before


def test_the_output_of_commands(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "b.rec")
    assert main(["split", str(plain), out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [part["num_samples"] for part in told["parts"]] == [93, 27]
    assert main(["split", str(plain), out, "--overwrite"]) == 0
    shown = capsys.readouterr().out
    assert "b_train.rec" in shown
    assert "b_val.rec" in shown
    assert main(["shuffle", str(plain), str(tmp_path / "c.rec")]) == 0
    assert "c.rec" in capsys.readouterr().out


objects = st.lists(
    st.tuples(st.integers(-1, 4), *[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 4), max_size=4
)
vectors = st.one_of(
    st.integers(0, 4).map(lambda id_: [float(id_)]),
    st.tuples(st.integers(0, 2), st.integers(0, 2), objects).map(
        lambda one: [
            2 + one[0], 5 + one[1], *[9.5] * one[0],
            *[value for row in one[2] for value in (*row, *[7.0] * one[1])],
        ]
    ).filter(lambda label: detection_widths(np.float32(label)) is not None),
)  # fmt: skip


@given(
    st.lists(vectors, min_size=1, max_size=6),
    st.sampled_from([None, [0, 1, 2, 3, 4], [-1, 1, -1, 0, -1]]),
    st.sampled_from([0, 5]),
    st.booleans(),
)
def test_objects_are_chosen_one_by_one(
    labels: list[list[float]], ids: list[int] | None, shortest: int, background: bool
) -> None:
    """The columns are judged as a loop over the labels would."""
    expected = []
    for row, label in enumerate(labels):
        widths = detection_widths(np.float32(label))
        if widths is None:
            new = label[0] if ids is None else ids[int(label[0])]
            if new >= 0:
                expected.append((row, [new]))
            continue
        header, width = widths
        rest = [label[at : at + width] for at in range(header, len(label), width)]
        left = []
        for one in rest:
            small = shortest and min((one[3] - one[1]) * 20, (one[4] - one[2]) * 10) < shortest
            if one[0] >= 0 and not small and (ids is None or ids[int(one[0])] >= 0):
                left.append([one[0] if ids is None else ids[int(one[0])], *one[1:]])
        if left or background:
            kept = left or [[-1.0] * width] * bool(rest)
            expected.append((row, label[:header] + [value for one in kept for value in one]))
    choice = Choice(None if ids is None else np.array(ids), shortest, background)
    flat = np.float32([value for label in labels for value in label])
    sizes = np.array([[20.0, 10.0]] * len(labels))
    stay, floats, widths_ = choose_objects(
        flat, np.array([len(label) for label in labels]), sizes, choice
    )
    assert stay.tolist() == [row for row, _ in expected]
    assert widths_.tolist() == [len(label) for _, label in expected]
    assert floats.tolist() == [value for _, label in expected for value in label]
