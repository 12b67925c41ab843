"""The commands on sets of shards: they take the name of the set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import recpack
from recpack.sinks.set_journal import complete_folder
from tests.cli.test_cli import run
from tests.pipeline.test_convert import CAT, small
from tests.support.s3server import S3Server

CLASSES = "cat,dog"


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("voc") / "d", CAT, count=11)


@pytest.fixture
def rec(voc: Path, tmp_path: Path) -> Path:
    """The name of a set of three."""
    recpack.convert(voc, tmp_path / "set" / "x.rec", shards=3, classes=CLASSES)
    return tmp_path / "set" / "x.rec"


@pytest.fixture
def plain(voc: Path, tmp_path: Path) -> Path:
    recpack.convert(voc, tmp_path / "plain" / "x.rec", classes=CLASSES)
    return tmp_path / "plain" / "x.rec"


def shard(rec: Path, number: int, suffix: str = ".rec") -> Path:
    return rec.with_name(f"x-{number:05d}-of-00003{suffix}")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_verify_reads_each_shard(rec: Path, plain: Path, jobs: int) -> None:
    found = recpack.verify(rec, jobs=jobs)
    alone = recpack.verify(plain)
    assert (found.name, found.records, found.shards, found.proof) == ("x.rec", 11, 3, "read")
    assert found.bytes == alone.bytes
    assert found.rules == alone.rules == ("manifest", "recordio", "index")
    assert found.checksum == recpack.Manifest.read(rec.with_suffix(".json")).rec["checksum"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_verify_names_the_shards_at_fault(
    rec: Path, jobs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(shard(rec, 1))
    shard(rec, 2, ".idx").write_text("0\t0\n")
    assert run("verify", rec, "--jobs", str(jobs)) == 1
    first, second = capsys.readouterr().err.strip().splitlines()
    assert "x-00001-of-00003.rec: it has crc32:" in first
    assert "x-00002-of-00003.rec: its index does not match its records; rebuild it" in second
    assert run(*second.rpartition("recpack ")[2].split()) == 0
    shard(rec, 1).unlink()
    assert run("verify", rec) == 1
    assert "x-00001-of-00003.rec: No such file" in capsys.readouterr().err


def test_verify_finds_shards_in_another_order_and_sums_that_lie(rec: Path) -> None:
    manifest = rec.with_suffix(".json")
    text = json.loads(manifest.read_text())
    swapped = text | {"shards": [text["shards"][one] for one in (1, 0, 2)]}
    manifest.write_text(json.dumps(swapped))
    with pytest.raises(recpack.DataError, match=r"its shards make crc32:.*, the manifest says"):
        recpack.verify(rec)
    manifest.write_text(json.dumps(text | {"num_samples": 12}))
    with pytest.raises(recpack.DataError, match=r"its shards have 11 records, the manifest 12"):
        recpack.verify(rec)
    manifest.write_text(json.dumps(text | {"rec": text["rec"] | {"bytes": 7}}))
    with pytest.raises(recpack.DataError, match=r"its shards have .* bytes, the manifest 7"):
        recpack.verify(rec)


@pytest.mark.parametrize("jobs", [1, 2])
def test_verify_by_rules_and_sources(rec: Path, voc: Path, tmp_path: Path, jobs: int) -> None:
    """The list is that of all records, in order; each shard has also its own."""
    recpack.write_list(voc, tmp_path / "a.lst", classes=CLASSES)
    found = recpack.verify(rec, against=(tmp_path / "a.lst", voc), reader="sagemaker", jobs=jobs)
    assert found.rules[-1] == "list"
    one = shard(rec, 1)
    assert recpack.verify(one, against=(one.with_suffix(".lst"), voc)).records == 4
    rows = (tmp_path / "a.lst").read_text().splitlines(keepends=True)
    (tmp_path / "a.lst").write_text("".join([*rows[:5], rows[6], rows[5], *rows[7:]]))
    with pytest.raises(recpack.DataError, match=r"x-00001-of-00003\.rec: .*2 records") as caught:
        recpack.verify(rec, against=(tmp_path / "a.lst", voc), jobs=jobs)
    assert {one.code for one in caught.value.problems} == {"record-differs"}
    for count, code in ((10, "record-surplus"), (12, "record-missing")):
        more = [*rows, rows[0].replace("0\t", "99\t", 1)][:count]
        (tmp_path / "a.lst").write_text("".join(more))
        with pytest.raises(recpack.DataError, match=r"x-00002-of-00003\.rec") as caught:
            recpack.verify(rec, against=(tmp_path / "a.lst", voc), jobs=jobs)
        assert [one.code for one in caught.value.problems] == [code]


def test_one_shard_is_held_against_its_entry(rec: Path) -> None:
    assert recpack.verify(shard(rec, 1)).rules == ("manifest", "recordio", "index")
    damage(shard(rec, 1))
    with pytest.raises(recpack.DataError, match=r"x-00001-of-00003\.rec: it has crc32"):
        recpack.verify(shard(rec, 1))
    rec.with_suffix(".json").unlink()
    assert recpack.verify(shard(rec, 1)).rules == ("recordio", "index")
    with pytest.raises(recpack.RecordError, match=r"x\.rec: No such file"):
        recpack.verify(rec)


def test_a_shard_alone_has_the_classes_of_its_set(
    rec: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = shard(rec, 1)
    assert recpack.inspect(one).classes.keys() == {"cat"}
    assert run("inspect", one) == 0
    assert "shards" not in capsys.readouterr().out
    merged = recpack.merge(tmp_path / "all.rec", [plain, one])
    assert merged.classes == ("cat", "dog")
    assert recpack.shuffle(one, tmp_path / "mixed.rec").manifest.classes == ("cat", "dog")
    recpack.unpack(one, tmp_path / "u")
    assert "<name>cat</name>" in next((tmp_path / "u" / "Annotations").iterdir()).read_text()


@pytest.mark.parametrize("suffix", [".json", ".idx", ".lst", ".txt"])
@pytest.mark.parametrize("command", ["inspect", "verify", "shuffle"])
def test_other_names_of_a_set(
    rec: Path, command: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = [rec.with_name("out.rec")] * (command == "shuffle")
    assert run(command, rec.with_suffix(suffix), *output) == 1
    told = "No such file" if suffix == ".txt" else "give the name of the .rec"
    assert told in capsys.readouterr().err


def test_merge_makes_the_plain_file(rec: Path, plain: Path, tmp_path: Path) -> None:
    assert run("merge", tmp_path / "all.rec", rec) == 0
    assert (tmp_path / "all.rec").read_bytes() == plain.read_bytes()
    assert (tmp_path / "all.idx").read_bytes() == plain.with_suffix(".idx").read_bytes()
    assert recpack.merge(tmp_path / "two.rec", [rec, plain]).num_samples == 22
    with pytest.raises(recpack.ConfigError, match=r"must be at least 2 .*, or a set"):
        recpack.merge(tmp_path / "b.rec", [plain])
    with pytest.raises(recpack.ConfigError, match="is also an input"):
        recpack.merge(rec, [rec, plain], overwrite=True)
    with pytest.raises(recpack.SinkError, match="is a shard of the set"):
        recpack.merge(shard(rec, 0), [rec], overwrite=True)


def test_unpack_as_the_plain_file(rec: Path, plain: Path, tmp_path: Path) -> None:
    for name, source in (("a", rec), ("b", plain)):
        assert recpack.unpack(source, tmp_path / name).images == 11
    a, b = (
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (tmp_path / "a", tmp_path / "b")
    )
    assert a == b
    shard(rec, 0, ".lst").unlink()  # its records get numbers
    recpack.unpack(rec, tmp_path / "c")
    listed = (tmp_path / "c" / "x.lst").read_text().splitlines()
    assert listed[0].endswith("00000000.jpg")
    assert listed[4:] == (tmp_path / "a" / "x.lst").read_text().splitlines()[4:]


def test_inspect_and_preview(
    rec: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, alone = recpack.inspect(rec).as_dict(), recpack.inspect(plain).as_dict()
    assert found.pop("manifest") != alone.pop("manifest")
    assert found == alone
    assert run("inspect", rec) == 0
    assert "shards" in capsys.readouterr().out
    assert run("inspect", rec, "--record", "4", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["id"], record["file"]) == (1, shard(rec, 1).name)
    assert run("inspect", rec, "--record", "11") == 1
    assert "no record 11; there are 11" in capsys.readouterr().err
    for name, source in (("a.png", rec), ("b.png", plain)):
        recpack.preview(source, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_index_of_each_shard(rec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [shard(rec, number, ".idx").read_bytes() for number in range(3)]
    assert run("index", rec) == 1
    assert "x-00000-of-00003.idx exists; replace it with --overwrite" in capsys.readouterr().err
    for number in range(3):
        shard(rec, number, ".idx").unlink()
    assert run("index", rec) == 0
    out, err = capsys.readouterr()
    assert f"{rec}: 11 records" in out
    assert err == ""
    assert [shard(rec, number, ".idx").read_bytes() for number in range(3)] == before
    assert not rec.with_suffix(".idx").exists()


def test_index_publishes_what_a_killed_run_had_completed(rec: Path) -> None:
    folder = complete_folder(rec)
    folder.mkdir()
    for path in list(rec.parent.iterdir()):
        if path.name.startswith(("x-", "x.json")):
            path.rename(folder / path.name)
    assert run("index", rec, "--overwrite") == 0
    assert recpack.verify(rec).records == 11
    assert not folder.exists()


def test_commands_on_s3(
    voc: Path, hostile: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``verify`` compares the checksums that the store keeps: one request for each object."""
    url, access = "s3://bucket/p/train/x.rec", {"endpoint_url": hostile.url}
    recpack.convert(voc, url, shards=3, classes=CLASSES, **access)
    hostile.calls.clear()
    found = recpack.verify(url, **access)
    assert (found.proof, found.records, found.shards) == ("checksum", None, 3)
    assert hostile.calls["head_object"] <= 4
    assert recpack.verify(url, deep=True, **access).records == 11
    one = "s3://bucket/p/train/x-00002-of-00003.rec"
    assert recpack.verify(one, **access).proof == "checksum"
    assert recpack.unpack(url, tmp_path / "u", **access).images == 11
    assert recpack.inspect(url, **access).records == 11
    recpack.merge(tmp_path / "all.rec", [url], **access)
    recpack.convert(voc, tmp_path / "x.rec", classes=CLASSES)
    assert (tmp_path / "all.rec").read_bytes() == (tmp_path / "x.rec").read_bytes()
    hostile.objects["p/train/x-00001-of-00003.rec"].data += b"more"
    assert run("verify", url, "--endpoint-url", hostile.url) == 1
    assert "x-00001-of-00003.rec: it has " in capsys.readouterr().err
