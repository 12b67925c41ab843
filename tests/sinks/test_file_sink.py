from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from recpack.errors import SinkError
from recpack.formats.recordio import RecordBuffer
from recpack.sinks.base import SinkPlan, Written, WrittenSegment
from recpack.sinks.file import FileSink
from recpack.sinks.file_writer import FileSegmentWriter
from recpack.storage.checksums import Checksum


def filled(data: bytes) -> RecordBuffer:
    """A buffer of any bytes, where a worker's holds records."""
    buffer = RecordBuffer()
    buffer._memory[: len(data)] = data
    buffer._end = len(data)
    return buffer


def written(size: int) -> Written:
    return Written(Checksum.CRC32, [WrittenSegment(0, size, 0)])


def publish(sink: FileSink, size: int) -> None:
    sink.publish(written(size), {".idx": ["i\n"], ".lst": ["l\n"]}, lambda _: "{}\n")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


ALL = ["a.idx", "a.json", "a.lst", "a.rec"]


def test_segments_in_any_order_of_writing(tmp_path: Path) -> None:
    parts = [bytes([65 + n]) * (1000 * n + 1) for n in range(6)]
    with FileSink(tmp_path / "a.rec") as sink:
        writer = sink.open(SinkPlan(segments=len(parts)))
        threads = [
            threading.Thread(target=writer.write, args=(n, filled(part), 0))
            for n, part in enumerate(parts)
        ]
        for thread in reversed(threads):
            thread.start()
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert "a.rec" not in names(tmp_path)
        publish(sink, sum(map(len, parts)))
    assert (tmp_path / "a.rec").read_bytes() == b"".join(parts)
    assert names(tmp_path) == ALL


def test_segments_that_do_not_begin_in_order_are_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recpack.sinks.file_writer._PATIENCE", 0.1)
    parts = [bytes([65 + n]) * (1000 * n + 1) for n in range(6)]
    order = [5, 1, 0, 3, 2, 4, 5, 2]  # two of them twice, as when a worker was taken for dead
    receipts: dict[int, str] = {}
    with FileSink(tmp_path / "a.rec") as sink:
        writer = sink.open(SinkPlan(segments=len(parts), ordered=False))
        for number in order:
            receipts |= writer.write(number, filled(parts[number]), 0)
        assert sorted(receipts) == [1, 3, 5]
        assert len([name for name in names(tmp_path) if "partial-" in name]) == 3
        segments = [WrittenSegment(number, len(part), 0) for number, part in enumerate(parts)]
        done = Written(Checksum.CRC32, segments, receipts)
        sink.publish(done, {".idx": ["i\n"], ".lst": ["l\n"]}, lambda _: "{}\n")
    assert (tmp_path / "a.rec").read_bytes() == b"".join(parts)
    assert names(tmp_path) == ALL
    with FileSink(tmp_path / "b.rec") as sink:
        sink.open(SinkPlan(segments=2, ordered=False)).write(1, filled(b"xy"), 0)
    assert names(tmp_path) == ALL


def test_another_runs_file_is_not_written_to(tmp_path: Path) -> None:
    with FileSink(tmp_path / "a.rec") as sink:
        probe, writer = sink.probe(), sink.open(SinkPlan(segments=2))
        probe_now = sink.probe()
    for late in (probe, probe_now):
        with pytest.raises(SinkError, match="does not see"):
            late.demand()
    with FileSink(tmp_path / "a.rec") as sink:
        sink.probe().demand()
        sink.open(SinkPlan(segments=2))
        with pytest.raises(SinkError, match="not the file of the run"):
            writer.write(0, filled(b"x"), 0)
        with pytest.raises(SinkError, match="another file is there"):
            probe.demand()


def test_leaving_without_publishing_leaves_nothing(tmp_path: Path) -> None:
    with FileSink(tmp_path / "deep" / "a.rec") as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"x"), 0)
    assert names(tmp_path / "deep") == []
    sink.abort()


def test_bytes_that_did_not_arrive_are_noticed(tmp_path: Path) -> None:
    with FileSink(tmp_path / "a.rec") as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"x"), 0)
        with pytest.raises(SinkError, match="1 bytes arrived, 2 were packed"):
            publish(sink, 2)
    assert names(tmp_path) == []


def test_a_failed_segment_stops_the_ones_behind_it(tmp_path: Path) -> None:
    with FileSink(tmp_path / "a.rec") as sink:
        writer = sink.open(SinkPlan(segments=3))
        writer.fail(0)
        for number in (1, 2):
            with pytest.raises(SinkError, match="an earlier segment failed"):
                writer.write(number, filled(b"x"), 0)


@pytest.mark.parametrize("how", ["abort", "die"])
def test_nobody_waits_for_a_run_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("recpack.sinks.file_writer._POLLS_A_CHECK", 10)
    sink = FileSink(tmp_path / "a.rec")
    sink.__enter__()
    writer = sink.open(SinkPlan(segments=2))
    assert isinstance(writer, FileSegmentWriter)
    caught: list[SinkError] = []

    def wait() -> None:
        try:
            writer.write(1, filled(b"x"), 0)
        except SinkError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    if how == "abort":
        sink.abort()
    else:
        fcntl.flock(sink._lock, fcntl.LOCK_UN)  # as the kernel does when the process dies
    thread.join(10)
    assert "has ended" in str(caught[0])
    sink.abort()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with FileSink(tmp_path / "a.rec") as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"x"), 0)
        with (
            pytest.raises(SinkError, match="another run is writing it"),
            FileSink(tmp_path / "a.rec"),
        ):
            raise AssertionError
        publish(sink, 1)
    assert names(tmp_path) == ALL


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    for name in ("a.rec", "a.idx", "a.lst", "a.json"):
        (tmp_path / f"{name}.recpack-partial").write_text("left")
    (tmp_path / "a.rec.recpack-lengths").write_text("left")
    (tmp_path / "b.rec.recpack-partial").write_text("another output's")
    with FileSink(tmp_path / "a.rec") as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
        publish(sink, 3)
    assert names(tmp_path) == [*ALL, "b.rec.recpack-partial"]
    assert (tmp_path / "a.rec").read_bytes() == b"new"


def test_a_run_killed_between_its_renames_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_text("complete, but without its manifest")
    (tmp_path / "a.json.recpack-partial").write_text("{}")
    with FileSink(tmp_path / "a.rec") as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
        publish(sink, 3)
    assert (tmp_path / "a.rec").read_bytes() == b"new"


def test_a_run_killed_before_its_renames_has_not_touched_what_it_would_replace(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.rec").write_text("of another tool, so without a manifest")
    for name in ("a.rec", "a.json"):  # killed with everything written and nothing renamed
        (tmp_path / f"{name}.recpack-partial").write_text("{}")
    with pytest.raises(SinkError, match="--overwrite"):
        FileSink(tmp_path / "a.rec").__enter__()
    assert (tmp_path / "a.rec").read_text() == "of another tool, so without a manifest"


@pytest.mark.parametrize("name", ALL)
def test_whatever_exists_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(SinkError, match=rf"{name} exists; .*--overwrite"):
        FileSink(tmp_path / "a.rec").__enter__()
    assert names(tmp_path) == [name]
    with FileSink(tmp_path / "a.rec", overwrite=True) as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
        assert (tmp_path / name).read_text() == "mine"
        sink.publish(written(3), {".idx": ["i\n"]}, lambda _: "{}\n")
    assert names(tmp_path) == ["a.idx", "a.json", "a.rec"]


@pytest.mark.parametrize(
    ("output", "message"),
    [("a.txt", "must end in .rec"), ("file/a.rec", "can't be written: "), ("a.rec/", "a.rec")],
)
def test_a_destination_that_cannot_be(tmp_path: Path, output: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.rec").mkdir()
    with pytest.raises(SinkError, match=message):
        FileSink(os.path.join(tmp_path, output)).__enter__()
