"""The manifest of a set of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recpack import DataError, Manifest
from recpack.formats.manifest import shard_paths

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
