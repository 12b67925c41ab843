from __future__ import annotations

from pathlib import Path

import pytest

import recpack
from recpack.cli.app import main
from recpack.errors import DataError, RecordError, SinkError
from recpack.records.reindex import reindex
from tests.conftest import Store
from tests.support.devkits import encode_record


def test_a_lost_index(devkit: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, tmp_path / "a.rec")
    before = (tmp_path / "a.idx").read_bytes()
    with pytest.raises(SinkError, match=r"a\.idx exists; replace it with --overwrite"):
        reindex(tmp_path / "a.rec")
    (tmp_path / "a.idx").write_text("0\t0\n")
    made = reindex(tmp_path / "a.rec", overwrite=True)
    assert (made.path, made.keys.tolist()) == (str(tmp_path / "a.idx"), list(range(120)))
    assert (tmp_path / "a.idx").read_bytes() == before
    (tmp_path / "a.idx").unlink()
    assert main(["index", str(tmp_path / "a.rec"), "--quiet"]) == 0
    assert (tmp_path / "a.idx").read_bytes() == before


def test_on_s3(devkit: Path, store: Store) -> None:
    url = f"s3://{store.bucket}/p/train/train.rec"
    recpack.convert(devkit, url, endpoint_url=store.url)
    place = store.at("p/_recpack/train.idx")
    store.access.call("delete_object", Bucket=place.bucket, Key=place.key)
    assert reindex(url, endpoint_url=store.url)[0] == str(place)
    with recpack.RecordReader(url, endpoint_url=store.url) as records:
        assert records.index() is not None
        assert records.read_key(3).id == 3


def test_ids_of_other_tools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [encode_record(id_, [1.0], b"image") for id_ in (7, 3)]
    (tmp_path / "a.rec").write_bytes(b"".join(records))
    assert main(["index", str(tmp_path / "a.rec")]) == 0
    assert "the keys are not 0, 1, 2, …" in capsys.readouterr().err
    assert recpack.verify(tmp_path / "a.rec", reader="dali").records == 2
    assert (tmp_path / "a.idx").read_text() == f"7\t0\n3\t{len(records[0])}\n"


def test_ids_that_repeat(tmp_path: Path) -> None:
    record = encode_record(1, [1.0], b"image")
    (tmp_path / "a.rec").write_bytes(record * 3)
    _, keys = reindex(tmp_path / "a.rec")
    assert keys.tolist() == [0, 1, 2]
    assert recpack.verify(tmp_path / "a.rec").records == 3
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        assert records.read_key(2).offset == 2 * len(record)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", DataError, "no records"),
        (b"not a record at all", RecordError, "a.rec"),
    ],
)
def test_files_without_an_index(
    tmp_path: Path, data: bytes, error: type[Exception], message: str
) -> None:
    (tmp_path / "a.rec").write_bytes(data)
    with pytest.raises(error, match=message):
        reindex(tmp_path / "a.rec")
    assert [path.name for path in tmp_path.iterdir()] == ["a.rec"]
