"""One reader of several files: a set of shards by its name, or a sequence of paths."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recpack
from recpack.records import bulk, record_file, shards
from recpack.storage.s3 import file as remote
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from tests.support.devkits import MAGIC
from tests.support.s3server import S3Server
from tests.support.sets import image, shard_name, write_set

COUNTS = (4, 1, 6)


def numbers(records: recpack.RecordReader | list[recpack.Record]) -> list[int]:
    found = [int(record.label[0]) for record in records]
    assert [record.image_bytes for record in records] == [image(number) for number in found]
    return found


def upload(path: Path, server: S3Server) -> str:
    """A set's files, as a set on S3; returns its name there."""
    for file in path.parent.iterdir():
        folder = "d" if file.suffix == ".rec" else "_recpack"
        location = parse_location(f"s3://bucket/p/{folder}/{file.name}")
        put(S3Client(server.url), location, file.read_bytes())
    return f"s3://bucket/p/d/{path.name}"


def demand_all(records: recpack.RecordReader, counts: tuple[int, ...] = COUNTS) -> None:
    total = sum(counts)
    assert numbers(records) == list(range(total))
    assert len(records) == total
    assert [numbers([records[i]]) for i in range(-total, total)] == [
        [i % total] for i in range(-total, total)
    ]
    assert numbers(records[2:9:3]) == [2, 5, 8]
    assert numbers(records[::-1]) == list(range(total))[::-1]
    assert records.starts.tolist() == np.cumsum([0, *counts]).tolist()
    assert records.keys.tolist() == list(range(total))
    assert [records.read_key(i).offset for i in range(total)] == records.offsets.tolist()
    places = [records.locate(i) for i in range(total)]
    assert places == [
        (path, i) for path, count in zip(records.paths, counts, strict=True) for i in range(count)
    ]
    assert records.locate(-1) == places[-1]
    for wrong in (total, -total - 1):
        with pytest.raises(IndexError):
            records[wrong]
        with pytest.raises(IndexError):
            records.locate(wrong)
    for wrong in (total, -1):
        with pytest.raises(KeyError):
            records.read_key(wrong)


@pytest.mark.parametrize("mapped", [True, False])
def test_a_set_by_its_name(tmp_path: Path, mapped: bool) -> None:
    name = write_set(tmp_path, *COUNTS)
    with recpack.RecordReader(name, mapped=mapped) as records:
        demand_all(records)
        assert records.paths == tuple(str(tmp_path / shard_name(i, 3)) for i in range(3))
        assert records.path == str(name)
        manifest = records.manifest()
        assert manifest is not None
        assert (manifest.num_samples, manifest.rec["bytes"]) == (11, records.size)
        assert records.index() is not None
        with pytest.raises(recpack.ConfigError, match="each has an offset 0"):
            records.read_offset(0)


def test_several_files(tmp_path: Path) -> None:
    paths = list(recpack.RecordReader(write_set(tmp_path, *COUNTS)).paths)
    with recpack.RecordReader([Path(path) for path in paths]) as records:
        demand_all(records)
        assert records.manifest() is None
    with recpack.RecordReader(paths[::-1]) as records:
        assert numbers(records) == [5, 6, 7, 8, 9, 10, 4, 0, 1, 2, 3]
    with recpack.RecordReader([paths[1]]) as records:
        assert numbers(records) == [4]
        assert records.read_offset(0).label == 4
    with pytest.raises(recpack.ConfigError, match="name at least one"):
        recpack.RecordReader([])
    with pytest.raises(recpack.ConfigError, match="it is of one file, and these are 3"):
        recpack.RecordReader(paths, index=tmp_path / "x.idx")


def test_the_order_of_lines_and_lost_indexes(tmp_path: Path) -> None:
    name = write_set(tmp_path, *COUNTS)
    last = tmp_path / shard_name(2, 3)
    lines = last.with_suffix(".idx").read_text().splitlines(keepends=True)
    last.with_suffix(".idx").write_text("".join(lines[::-1]))
    (tmp_path / shard_name(0, 3)).with_suffix(".idx").unlink()
    for mapped in (True, False):
        with recpack.RecordReader(name, mapped=mapped) as records:
            assert records.index() is None
            assert [numbers([records[i]])[0] for i in range(11)] == [
                0, 1, 2, 3, 4, 10, 9, 8, 7, 6, 5,
            ]  # fmt: skip
            assert numbers(records) == list(range(11))


def test_what_is_missing(tmp_path: Path) -> None:
    name = write_set(tmp_path, *COUNTS)
    gone = tmp_path / shard_name(1, 3)
    gone.unlink()
    with recpack.RecordReader(name) as records:
        with pytest.raises(recpack.RecordError, match=rf"{gone.name}: No such file"):
            list(records)
        with pytest.raises(recpack.RecordError, match=rf"{gone.name}: No such file"):
            len(records)
    (tmp_path / shard_name(0, 3)).unlink()
    with pytest.raises(recpack.RecordError, match=r"00000-of-00003\.rec: No such file"):
        recpack.RecordReader(name)
    with pytest.raises(recpack.RecordError, match=r"y\.rec: No such file"):
        recpack.RecordReader(tmp_path / "y.rec")
    with pytest.raises(recpack.RecordError, match=r"x\.rec: No such file"):
        recpack.RecordReader([name, name])


def test_a_file_comes_before_a_set_of_its_name(tmp_path: Path) -> None:
    name = write_set(tmp_path, *COUNTS)
    name.write_bytes((tmp_path / shard_name(1, 3)).read_bytes())
    with recpack.RecordReader(name) as records:
        assert numbers(records) == [4]


def test_few_files_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_MOST_OPEN", 2)
    name = write_set(tmp_path, *[2] * 8)
    before = len(os.listdir("/proc/self/fd"))
    with recpack.RecordReader(name) as records:
        demand_all(records, (2,) * 8)
        assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_closed_reader_says_so(tmp_path: Path) -> None:
    name = write_set(tmp_path, *COUNTS)
    records = recpack.RecordReader(name)
    len(records)
    records.close()
    with pytest.raises(recpack.RecordError, match="the reader is closed"):
        records[0]
    with pytest.raises(recpack.RecordError, match="the reader is closed"):
        list(records)
    records.close()


@pytest.mark.parametrize("place", ["disk", "S3"])
def test_threads_share_a_reader(
    tmp_path: Path, hostile: S3Server, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(shards, "_MOST_OPEN", 2)
    monkeypatch.setattr(remote, "_FIRST", 300)
    name = write_set(tmp_path, *[10] * 4)
    path = name if place == "disk" else upload(name, hostile)
    with recpack.RecordReader(path, endpoint_url=hostile.url) as records:
        found: list[list[int]] = []

        def read(seed: int) -> None:
            order = np.random.default_rng(seed).permutation(40)
            found.append(sorted(numbers([records[int(i)] for i in order])))

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [list(range(40))] * 4


READ = """
import pickle, sys
reader = pickle.load(sys.stdin.buffer)
print(*[int(record.label[0]) for record in reader], int(reader[-1].label[0]))
"""


def elsewhere(reader: recpack.RecordReader) -> str:
    """What another process reads from a reader that was pickled."""
    run = subprocess.run([sys.executable, "-c", READ], input=pickle.dumps(reader),
                         capture_output=True, check=False)  # fmt: skip
    return run.stdout.decode() or run.stderr.decode()


@pytest.mark.parametrize("loaded", [True, False])
def test_a_reader_is_pickled(tmp_path: Path, hostile: S3Server, loaded: bool) -> None:
    name = write_set(tmp_path, *COUNTS)
    expected = " ".join(map(str, [*range(11), 10]))
    on_s3 = recpack.RecordReader(upload(name, hostile), endpoint_url=hostile.url)
    for reader in (recpack.RecordReader(name), on_s3):
        with reader:
            if loaded:
                len(reader)
            assert elsewhere(reader).strip() == expected
            assert numbers(reader) == list(range(11))


def test_a_pickled_reader_reads_the_same_version(tmp_path: Path) -> None:
    name = write_set(tmp_path, *COUNTS)
    first = tmp_path / shard_name(0, 3)
    with recpack.RecordReader(name) as reader:
        first.rename(tmp_path / "old")
        first.write_bytes((tmp_path / "old").read_bytes())
        assert "another run has just replaced it" in elsewhere(reader)
        with pytest.raises(recpack.RecordError, match="replaced it; try again"):
            reader._demand_current()


def in_fork(work: Callable[[], object]) -> None:
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_reader_is_used_after_a_fork(
    tmp_path: Path, hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_FIRST", 100)
    monkeypatch.setattr(remote, "_LARGEST", 500)
    name = write_set(tmp_path, 40, 40)
    on_s3 = recpack.RecordReader(upload(name, hostile), endpoint_url=hostile.url)
    for reader in (recpack.RecordReader(name), on_s3):
        with reader:
            records = iter(reader)
            assert numbers([next(records) for _ in range(20)]) == list(range(20))

            def child(reader: recpack.RecordReader = reader, records: object = records) -> None:
                assert [int(record.label[0]) for record in records] == list(range(20, 80))  # type: ignore[attr-defined]
                demand_all(reader, (40, 40))

            in_fork(child)
            assert numbers(list(records)) == list(range(20, 80))


@given(
    order=st.lists(st.integers(-11, 10), max_size=30),
    mapped=st.booleans(),
    size=st.integers(1, 9),
    ahead=st.integers(0, 3),
    gap=st.sampled_from([0, 100, 1 << 16]),
)
def test_any_order(
    tmp_path: Path, order: list[int], mapped: bool, size: int, ahead: int, gap: int
) -> None:
    name = tmp_path / "x.rec"
    if not (tmp_path / "x.json").exists():
        write_set(tmp_path, *COUNTS)
    expected = [i % 11 for i in order]
    with (
        pytest.MonkeyPatch.context() as small,
        recpack.RecordReader(name, mapped=mapped) as records,
    ):
        small.setattr(bulk, "_GAP", gap)
        assert [numbers([records[i]])[0] for i in order] == expected
        assert numbers(records.read_many(order)) == expected
        assert numbers(records.read_many(np.array(order, np.int32))) == expected
        batches = list(records.batches(size, order, ahead=ahead))
        assert {len(batch) for batch in batches[:-1]} <= {size}
        assert numbers([record for batch in batches for record in batch]) == expected


def test_batches_of_all_on_s3_in_few_requests(tmp_path: Path, hostile: S3Server) -> None:
    url = upload(write_set(tmp_path, *COUNTS), hostile)
    with recpack.RecordReader(url, endpoint_url=hostile.url) as records:
        len(records)
        hostile.calls.clear()
        assert numbers(records[:]) == list(range(11))
        assert hostile.calls == {"get_object": 3}
        batches = list(records.batches(4))
        assert [numbers(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
        assert hostile.calls == {"get_object": 3 + 4}


@pytest.mark.parametrize("mapped", [True, False])
def test_what_is_not_sound_is_found_in_a_batch_too(tmp_path: Path, mapped: bool) -> None:
    name = write_set(tmp_path, *COUNTS)
    last = tmp_path / shard_name(2, 3)
    lines = last.with_suffix(".idx").read_text().splitlines()
    offset = int(lines[3].split()[1])
    data = bytearray(last.read_bytes())
    data[offset] ^= 1
    last.write_bytes(data)
    with recpack.RecordReader(name, mapped=mapped) as records:
        with pytest.raises(recpack.RecordError, match=rf"{last.name}: no record at byte {offset}"):
            records[4:]
        assert numbers(records[:8]) == list(range(8))
        with pytest.raises(IndexError, match="no record 11; there are 11"):
            records.read_many([0, 11])
        with pytest.raises(recpack.ConfigError, match="must be whole numbers"):
            records.read_many([0.5])  # type: ignore[list-item]
        with pytest.raises(recpack.ConfigError, match=r"size: must be at least 1 \(got 0\)"):
            next(records.batches(0))


@pytest.mark.parametrize("mapped", [True, False])
def test_records_in_parts_and_long_ones(
    tmp_path: Path, mapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((record_file, "_BLOCK"), (record_file, "_FIRST"), (bulk, "_LARGEST")):
        monkeypatch.setattr(module, name, 300)
    images = [b"", MAGIC * 3, b"x" * 2000 + MAGIC, b"y" * 500, b"", MAGIC, b"z" * 5]
    path = tmp_path / "a.rec"
    with recpack.RecordWriter(path) as writer:
        for picture in images:
            writer.write(picture, label=[1, 2, 3])
    path.write_bytes(path.read_bytes()[:-3])  # the last one's padding
    with recpack.RecordReader(path, mapped=mapped) as records:
        for found in (list(records), records[:], [records[i] for i in range(7)]):
            assert [record.image_bytes for record in found] == images
            assert [record.offset for record in found] == records.offsets.tolist()


def test_a_set_on_s3(tmp_path: Path, hostile: S3Server) -> None:
    url = upload(write_set(tmp_path, *COUNTS), hostile)
    with recpack.RecordReader(url, endpoint_url=hostile.url) as records:
        demand_all(records)
        assert records.paths == tuple(f"s3://bucket/p/d/{shard_name(i, 3)}" for i in range(3))


def test_what_was_read_to_its_end_reads_no_further(
    tmp_path: Path, hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_FIRST", 100)
    monkeypatch.setattr(remote, "_LARGEST", 500)
    monkeypatch.setattr(record_file, "_FIRST", 300)
    monkeypatch.setattr(record_file, "_BLOCK", 300)
    url = upload(write_set(tmp_path, *[20] * 6), hostile)

    def threads() -> int:
        return sum(thread.name.startswith("ThreadPool") for thread in threading.enumerate())

    before = threads()
    with recpack.RecordReader(url, endpoint_url=hostile.url) as records:
        assert numbers(records) == list(range(120))
        end = time.monotonic() + 10
        while threads() > before and time.monotonic() < end:
            time.sleep(0.01)
        assert threads() == before
        assert numbers(records) == list(range(120))


def test_no_request_asks_for_a_set_where_there_is_a_file(tmp_path: Path, hostile: S3Server) -> None:
    url = upload(write_set(tmp_path, *COUNTS), hostile)
    path = f"s3://bucket/p/d/{shard_name(0, 3)}"
    hostile.calls.clear()
    with recpack.RecordReader(path, endpoint_url=hostile.url) as records:
        assert hostile.calls == {"head_object": 1}
        assert numbers(records) == [0, 1, 2, 3]
        assert hostile.calls == {"head_object": 1, "get_object": 1}
    assert url
