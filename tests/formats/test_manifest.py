"""The manifest: its typed entries, and that of a set of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recpack import DataError, Manifest
from recpack.formats.manifest import RecFile, Source, shard_paths

VALUES: dict[str, Any] = {
    "rec": {"name": "x.rec", "bytes": 48, "checksum": None},
    "num_samples": 1,
    "classes": ["a"],
    "label_width": 1,
    "header_width": 0,
    "object_width": 0,
    "objects": {"a": 1},
    "recpack_version": "0",
    "format_version": 1,
}


def _write(path: Path, *names: object) -> None:
    shards = [{"name": name, "bytes": 48, "checksum": None} for name in names]
    path.write_text(json.dumps({**VALUES, "shards": shards}))


def test_shards_are_beside_the_name_of_their_set(tmp_path: Path) -> None:
    names = ["x-00000-of-00002.rec", "x-00001-of-00002.rec"]
    _write(tmp_path / "x.json", *names)
    assert shard_paths(tmp_path / "x.rec") == [str(tmp_path / name) for name in names]
    assert [one["name"] for one in Manifest.read(tmp_path / "x.json").shards] == names


def test_what_is_no_set_has_no_shards(tmp_path: Path) -> None:
    assert shard_paths(tmp_path / "x.rec") == []
    _write(tmp_path / "x.json")
    assert shard_paths(tmp_path / "x.rec") == []


@pytest.mark.parametrize("name", ["../y.rec", "/etc/y.rec", "", None, "y.idx"])
def test_a_shard_can_not_be_elsewhere(tmp_path: Path, name: object) -> None:
    _write(tmp_path / "x.json", name)
    with pytest.raises(DataError, match="which is no name"):
        shard_paths(tmp_path / "x.rec")


@pytest.mark.parametrize("etag", [{}, {"etag": '"a-2"'}], ids=["checksum", "etag"])
@pytest.mark.parametrize("source", [{}, {"format": "voc", "sets": ["a"], "years": []}])
def test_entries_are_typed_and_their_json_is_the_same(
    etag: dict[str, str], source: dict[str, Any]
) -> None:
    shard = {"name": "x-0.rec", "bytes": 48, "checksum": None, **etag}
    rec = {"name": "x.rec", "bytes": 48, "checksum": "crc32:00000000", **etag}
    values = VALUES | {"rec": rec, "source": source, "shards": [shard]}
    manifest = Manifest.from_json(json.dumps(values))
    assert manifest.rec == RecFile("x.rec", 48, "crc32:00000000", etag.get("etag"))
    assert manifest.rec["name"] == manifest.rec.name == "x.rec"
    assert manifest.source == (Source("voc", ("a",)) if source else Source())
    assert manifest.source["format"] == manifest.source.format
    written = json.loads(manifest.to_json())
    for name in ("rec", "source", "shards"):
        assert json.dumps(written[name]) == json.dumps(values[name])
    with pytest.raises(KeyError):
        manifest.rec["nonsense"]


def test_an_entry_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match="checksum"):
        Manifest.from_json(json.dumps(VALUES | {"rec": {"name": "x.rec", "bytes": 1}}))
