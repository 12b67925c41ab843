"""``--shards N``: a set of files with one manifest."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.formats.manifest import RecFile
from recpack.storage.shards import MOST_SHARDS, shard_name, shard_names
from tests.cli.test_cli import run
from tests.pipeline.test_convert import CAT, small
from tests.sinks.test_file_set import content, files, make_list, names
from tests.support.s3server import S3Server


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def expected(devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a set of seven."""
    folder = tmp_path_factory.mktemp("set")
    recpack.convert(devkit, folder / "x.rec", shards=7, jobs=1)
    return bytes_of(folder)


def test_shards_are_runs_of_the_plain_order(
    devkit: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Each is an ordinary ``.rec`` with ids and keys from 0; the manifest tells of all."""
    plain = recpack.convert(devkit, tmp_path / "x.rec").manifest
    manifest = recpack.Manifest.from_json(expected["x.json"])
    assert set(expected) == files(7)
    with recpack.RecordReader(tmp_path / "x.rec") as records:
        images = [bytes(record.image_bytes) for record in records]
    rows = [row.split("\t") for row in (tmp_path / "x.lst").read_text().splitlines()]
    counts, data, listed = list[int](), b"", b""
    for number, shard in enumerate(manifest.shards):
        name = shard_name("x.rec", number, 7)
        checksum = f"crc32:{zlib.crc32(expected[name]):08x}"
        assert shard == RecFile(name, len(expected[name]), checksum)
        for suffix in (".rec", ".idx", ".lst"):
            file = str(Path(name).with_suffix(suffix))
            (tmp_path / file).write_bytes(expected[file])
        with recpack.RecordReader(tmp_path / name) as records:
            ids = [record.id for record in records]
            index = records.index()
            assert index is not None
            assert ids == index[0].tolist() == list(range(len(ids)))
            start = sum(counts)
            assert [bytes(one.image_bytes) for one in records] == images[start : start + len(ids)]
        own = [row.split("\t") for row in expected[f"{name[:-4]}.lst"].decode().splitlines()]
        assert own == [[str(id), *row[1:]] for id, row in enumerate(rows[start:][: len(ids)])]
        counts.append(len(ids))
        data, listed = data + expected[name], listed + expected[f"{name[:-4]}.lst"]
    assert sum(counts) == len(images) == manifest.num_samples
    assert max(counts) - min(counts) <= 1
    assert manifest.rec == RecFile("x.rec", len(data), f"crc32:{zlib.crc32(data):08x}")
    assert manifest.list_checksum == f"crc32:{zlib.crc32(listed):08x}"
    for name in ("classes", "objects", "label_width", "options", "source", "problems"):
        assert getattr(manifest, name) == getattr(plain, name)


@pytest.mark.parametrize(
    "options",
    [{"jobs": 2}, {"jobs": 2, "backend": "fork"}, {"backend": "threading", "jobs": 3},
     {"jobs": 2, "segment_size": "64KiB"}, {"jobs": 1, "segment_size": "64KiB"}],
)  # fmt: skip
def test_the_same_bytes_by_any_workers(
    devkit: Path, tmp_path: Path, expected: dict[str, bytes], options: dict[str, Any]
) -> None:
    recpack.convert(devkit, tmp_path / "x.rec", shards=7, **options)
    assert bytes_of(tmp_path) == expected


@pytest.mark.parametrize("uploads", [1, 16])
def test_the_same_bytes_on_s3(
    devkit: Path, hostile: S3Server, expected: dict[str, bytes], uploads: int
) -> None:
    url = "s3://bucket/p/train/x.rec"
    recpack.convert(devkit, url, shards=7, jobs=2, uploads=uploads, endpoint_url=hostile.url)
    found = {key.rpartition("/")[2]: blob.data for key, blob in hostile.objects.items()}
    assert found == expected
    assert {key for key in hostile.objects if not key.startswith("p/_recpack/")} == {
        f"p/train/{name}" for name in shard_names("x.rec", 7)
    }
    assert hostile.most_at_once <= uploads + 2


def test_a_shard_is_what_pack_makes_of_its_list(
    devkit: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    (tmp_path / "a.lst").write_bytes(expected["x-00003-of-00007.lst"])
    recpack.pack(tmp_path / "a.lst", devkit, tmp_path / "a.rec")
    assert (tmp_path / "a.rec").read_bytes() == expected["x-00003-of-00007.rec"]


def test_pack_makes_sets_too(tmp_path: Path) -> None:
    """Of a list with other ids, also beside it."""
    source = make_list(tmp_path / "d", b"NEW")
    (source / "a.lst").rename(source / "x.lst")
    rows = (source / "x.lst").read_text()
    recpack.pack(source / "x.lst", source, source / "x.rec", shards=2)
    assert content(source / "x.rec") == (b"NEW", 2)
    assert (source / "x.lst").read_text() == rows
    assert (source / "x-00001-of-00002.lst").read_text().startswith("0\t3")


def test_one_shard_is_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_list(tmp_path / "d", b"NEW")
    assert run("pack", source / "a.lst", source, tmp_path / "o" / "x.rec", "--shards", "1") == 0
    assert names(tmp_path / "o") == files(1)
    assert "1: x-00000-of-00001.rec to x-00000-of-00001.rec" in capsys.readouterr().out


def test_each_part_of_a_split_is_a_set(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", CAT, count=40)
    output = tmp_path / "o" / "x.rec"
    result = recpack.convert(devkit, output, split="0.5/0.5", shards=3)
    assert len(names(output.parent)) == 20
    for part, name in zip(result.parts, ("x_train.rec", "x_val.rec"), strict=True):
        assert [one["name"] for one in part.manifest.shards] == shard_names(name, 3)


def test_an_image_that_fails_moves_the_order_of_all(tmp_path: Path) -> None:
    devkit = small(tmp_path / "d", CAT, count=10)
    broken = devkit / "JPEGImages" / "4.jpg"
    options: dict[str, Any] = {"on_error": "skip", "shuffle": None, "shards": 3, "jobs": 1}

    def change(now: recpack.Progress) -> None:
        if now.stage == "scan" and now.done == now.total:
            os.utime(broken, ns=(0, 0))

    result = recpack.convert(devkit, tmp_path / "o" / "x.rec", progress=change, **options)
    assert [problem.file for problem in result.problems] == ["JPEGImages/4.jpg"]
    assert names(tmp_path / "o") == files(3) | {"x.quarantine.tsv"}
    for path in (broken, devkit / "Annotations" / "4.xml"):
        path.unlink()
    recpack.convert(devkit, tmp_path / "p" / "x.rec", **options)
    found, clean = bytes_of(tmp_path / "o"), bytes_of(tmp_path / "p")
    for name in files(3) - {"x.json"}:
        assert found[name] == clean[name]
    recpack.convert(devkit, tmp_path / "o" / "x.rec", overwrite=True, **options)
    assert bytes_of(tmp_path / "o") == clean  # the older quarantine is gone too


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_list(tmp_path / "d", b"NEW")
    words = ("pack", source / "a.lst", source)
    for shards, options, text in (
        (8, (), "--shards must be at most the number of samples, 7 (got 8)"),
        (0, (), "--shards must be 1 to 99,999 (got 0)"),
        (MOST_SHARDS + 1, (), "--shards must be 1 to 99,999 (got 100000)"),
        (2, ("--sse", "AES256"), "--sse: only for an output on S3"),
    ):
        assert run(*words, tmp_path / "x.rec", "--shards", str(shards), *options) == 2
        assert text in capsys.readouterr().err
    assert run(*words, "s3://bucket/x.rec", "--shards", "2", "--resume") == 2
    assert "--resume: not for a set of shards" in capsys.readouterr().err
    with pytest.raises(recpack.ConfigError, match="not a sink"):
        recpack.pack(source / "a.lst", source, recpack.MemorySink(), shards=2)
    devkit = small(tmp_path / "v", CAT, count=4)
    for output in ("x.manifest", "x/"):
        with pytest.raises(recpack.ConfigError, match="shards"):
            recpack.convert(devkit, f"{tmp_path}/{output}", shards=2)
    with pytest.raises(recpack.ConfigError, match="at most the number of samples, 4"):
        recpack.convert(devkit, tmp_path / "x.rec", shards=5, dry_run=True)
    assert names(tmp_path) == {"d", "v"}


def test_a_dry_run_names_the_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devkit = small(tmp_path / "d", CAT, count=4)
    words = ("convert", devkit, tmp_path / "x.rec", "--shards", "3", "--dry-run", "--json")
    assert run(*words) == 0
    manifest = json.loads(capsys.readouterr().out)["manifest"]
    assert [one["name"] for one in manifest["shards"]] == shard_names("x.rec", 3)
    assert names(tmp_path) == {"d"}


def test_progress_counts_the_samples_of_all_shards(tmp_path: Path) -> None:
    devkit, seen = small(tmp_path / "d", CAT, count=12), list[recpack.Progress]()
    recpack.convert(devkit, tmp_path / "x.rec", shards=4, progress=seen.append)
    packs = [one for one in seen if one.stage == "pack"]
    assert [one.done for one in packs] == [3, 6, 9, 12]
    assert {one.total for one in packs} == {12}


@pytest.mark.once
def test_more_shards_than_files_that_can_be_open(tmp_path: Path) -> None:
    source = make_list(tmp_path / "d", b"NEW", 150)
    soft = min(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    script = (
        f"import resource, recpack\nresource.setrlimit(resource.RLIMIT_NOFILE, ({soft},) * 2)\n"
        f"recpack.pack({str(source / 'a.lst')!r}, {str(source)!r}, {str(tmp_path / 'x.rec')!r}, "
        "shards=150, jobs=2)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert content(tmp_path / "x.rec") == (b"NEW", 150)
