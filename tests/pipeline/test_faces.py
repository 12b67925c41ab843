"""``convert --from identities``: InsightFace's layout, from any source, to any destination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.formats.insightface import table_labels
from recpack.storage.s3.objects import put, read
from tests.cli.test_cli import run
from tests.conftest import Store
from tests.sinks.test_s3_stores import upload_tree
from tests.sources.test_wild import encoded
from tests.support.archives import make_tar
from tests.support.devkits import jpeg
from tests.support.faces import PEOPLE, face_rows, make_faces, write_records

FACES: dict[str, Any] = {"source_format": "identities"}
SMALL: list[dict[str, Any]] = [
    {"jobs": 1},
    {"jobs": 3, "segment_size": "64KiB"},
    {"jobs": 2, "backend": "loky"},
    {"jobs": 2, "backend": "threading", "segment_size": "64KiB"},
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return make_faces(tmp_path_factory.mktemp("faces") / "in")


def expected(root: Path, folder: Path, people: dict[str, int] | None = None) -> Path:
    folder.mkdir()
    return write_records(folder / "train.rec", face_rows(root, people))


def assert_equal(rec: Path, other: Path) -> None:
    for suffix in (".rec", ".idx"):
        assert rec.with_suffix(suffix).read_bytes() == other.with_suffix(suffix).read_bytes()


@pytest.mark.parametrize("options", SMALL, ids=str)
def test_the_layout(faces: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    result = recpack.convert(faces, tmp_path / "train.rec", **FACES, **options)
    assert_equal(tmp_path / "train.rec", expected(faces, tmp_path / "by_hand"))
    assert (tmp_path / "property").read_text() == "3,48,48\n"
    images = [str(path.relative_to(faces)) for path in sorted(faces.rglob("*.jpg"))]
    rows = [line.split("\t") for line in (tmp_path / "train.lst").read_text().splitlines()]
    assert [row[2] for row in rows] == images
    assert [row[0] for row in rows] == [str(key) for key in range(1, 7)]
    manifest = result.manifest
    assert (manifest.num_samples, manifest.label_width, manifest.object_width) == (6, 1, 0)
    assert dict(manifest.objects) == PEOPLE
    assert manifest.options["shuffle"] is None
    against = (tmp_path / "train.lst", faces)
    found = recpack.verify(tmp_path / "train.rec", reader="insightface", against=against)
    assert found.records == 10


def test_segments_of_tables_alone(tmp_path: Path) -> None:
    people = {f"{number:04d}": 1 for number in range(2000)}
    root = tmp_path / "in"
    image = jpeg(8, 8)
    for name in people:
        (root / name).mkdir(parents=True)
        (root / name / "0.jpg").write_bytes(image)
    make_tar(root, tmp_path / "in.tar")
    by_hand = expected(root, tmp_path / "by_hand", people)
    for number, source in enumerate((root, tmp_path / "in.tar")):
        output = tmp_path / str(number) / "train.rec"
        recpack.convert(source, output, jobs=2, segment_size="64KiB", **FACES)
        assert_equal(output, by_hand)


def test_from_and_to_s3(faces: Path, tmp_path: Path, store: Store) -> None:
    by_hand = expected(faces, tmp_path / "by_hand")
    upload_tree(store, faces, "in/")
    make_tar(faces, tmp_path / "in.tar")
    put(store.access, store.at("in.tar"), (tmp_path / "in.tar").read_bytes())
    output = store.at("p/train/train.rec")
    for source in (store.at("in/"), store.at("in.tar")):
        recpack.convert(
            str(source), str(output), endpoint_url=store.url, jobs=2, overwrite=True, **FACES
        )
        assert read(store.access, output) == by_hand.read_bytes()
        assert read(store.access, output.companion(".property")) == b"3,48,48\n"
    assert "p/_recpack/train.property" in store.listing()
    found = recpack.inspect(str(output), endpoint_url=store.url)
    assert str(found.faces.property if found.faces else None) == "3,48,48"
    recpack.verify(str(output), reader="insightface", endpoint_url=store.url)
    recpack.unpack(str(output), tmp_path / "u", endpoint_url=store.url)
    assert (tmp_path / "u" / "property").read_text() == "3,48,48\n"
    with pytest.raises(recpack.SinkError, match="exists; choose another name"):
        recpack.convert(faces, str(output), endpoint_url=store.url, **FACES)
    only = [key for key in store.listing() if "_recpack" in key]
    assert only == [f"p/_recpack/train.{end}" for end in ("idx", "json", "lst", "property")]


def test_there_and_back(tmp_path: Path) -> None:
    """Equal names in several folders, names that are numbers, folders in folders, names that the
    output has too."""
    people = {"10": 1, "9": 2, "a/b": 1, "a b": 1, "property": 1, "train.lst/x": 1, "žluť": 1}
    root = make_faces(tmp_path / "in", people)
    recpack.convert(root, tmp_path / "o" / "train.rec", **FACES)
    recpack.unpack(tmp_path / "o" / "train.rec", tmp_path / "u")
    recpack.convert(tmp_path / "u", tmp_path / "again" / "train.rec", **FACES)
    assert_equal(tmp_path / "again" / "train.rec", tmp_path / "o" / "train.rec")
    assert (tmp_path / "u" / "property").is_file()
    assert (tmp_path / "u" / "train.lst").is_file()
    (tmp_path / "o" / "train.idx").unlink()
    recpack.reindex(tmp_path / "o" / "train.rec")
    assert_equal(tmp_path / "again" / "train.rec", tmp_path / "o" / "train.rec")


def test_images_of_several_sizes(tmp_path: Path) -> None:
    root = make_faces(tmp_path / "in")
    (root / "ben" / "000.jpg").write_bytes(jpeg(64, 40))
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(root, tmp_path / "train.rec", **FACES)
    told = str(caught.value)
    assert "ben/000.jpg" in told
    assert "64 x 40, ada/000.jpg 48 x 48" in told
    assert "--center-crop --resize 112" in told
    assert sorted(tmp_path.iterdir()) == [root]
    with pytest.raises(recpack.DataError, match="ben/000"):
        recpack.convert(root, tmp_path / "train.rec", dry_run=True, **FACES)
    options = {"center_crop": True, "resize": 112}
    recpack.convert(root, tmp_path / "train.rec", **FACES, **options)
    assert (tmp_path / "property").read_text() == "3,112,112\n"
    assert recpack.verify(tmp_path / "train.rec", reader="insightface").records == 10


@pytest.mark.parametrize("size", [(96, 48), (48, 97), (333, 200)])
def test_the_size_of_property_is_that_of_the_images(tmp_path: Path, size: tuple[int, int]) -> None:
    for name in "ab":
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "0.jpg").write_bytes(jpeg(*size))
    for number, options in enumerate(({"resize": 31}, {"center_crop": True}, {"reencode": True})):
        output = tmp_path / str(number) / "train.rec"
        recpack.convert(tmp_path / "in", output, **FACES, **options)
        recpack.verify(output, reader="insightface")


def test_what_can_not_be(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        ({"shuffle": 3}, "shuffle: InsightFace's tables need the images"),
        ({"split": "0.8/0.2"}, "split: InsightFace's validation sets are pairs"),
    ):
        with pytest.raises(recpack.ConfigError, match=message):
            recpack.convert(faces, tmp_path / "train.rec", **FACES, **options)
    (tmp_path / "property").write_text("mine")
    command = ["convert", faces, tmp_path / "train.rec", "--from", "identities"]
    assert run(*command) == 1
    assert "property exists" in capsys.readouterr().err
    assert (tmp_path / "property").read_text() == "mine"
    assert run(*command, "--overwrite", "--quiet") == 0
    assert (tmp_path / "property").read_text() == "3,48,48\n"
    # another format has nothing to do with it
    recpack.convert(faces, tmp_path / "train.rec", source_format="folders", overwrite=True)
    assert (tmp_path / "property").read_text() == "3,48,48\n"


def test_floats_count_keys_up_to_a_limit() -> None:
    assert table_labels(np.array([(1 << 24) - 2]))[0].tolist() == [(1 << 24) - 1, 1 << 24]
    with pytest.raises(recpack.DataError, match="exact up to 16,777,216; put some"):
        table_labels(np.array([(1 << 24) - 1]))


def test_an_image_that_is_left_out_changes_the_tables(tmp_path: Path) -> None:
    root = make_faces(tmp_path / "in")
    (root / "ada" / "001.jpg").unlink()
    bitmap = encoded(".bmp", np.zeros((48, 48, 3), np.uint8))
    (root / "ada" / "001.bmp").write_bytes(bitmap[:54] + bytes(10))  # only decoding finds it
    result = recpack.convert(root, tmp_path / "train.rec", on_error="skip", **FACES)
    assert [one.code for one in result.problems if one.severity == "error"] == ["image-corrupt"]
    assert recpack.verify(tmp_path / "train.rec", reader="insightface").records == 9
    assert (tmp_path / "train.lst").read_text().startswith("1\t0.0\tada/000.jpg\n2\t0.0\tada/002")


def test_a_memory_sink(faces: Path) -> None:
    sink = recpack.MemorySink()
    recpack.convert(faces, sink, **FACES)
    assert sink.files[".property"] == b"3,48,48\n"
