from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recpack.errors import ConfigError, SinkError
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
        assert len([name for name in names(tmp_path) if re.search(r"-\d+$", name)]) == 3
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
        with pytest.raises(SinkError, match="the run that began this task has ended"):
            writer.write(0, filled(b"x"), 0)
        with pytest.raises(SinkError, match="does not see"):
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
        fcntl.flock(sink._output, fcntl.LOCK_UN)  # as the kernel does when the process dies
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
    token = "0123456789abcdef"
    for ending in ("", ".idx", ".json", "-lengths", "-journal", "-3", "-3-89abcdef"):
        (tmp_path / f"a.rec.recpack-{token}{ending}").write_text("left")
    for name in ("lock", "journal"):
        (tmp_path / f"a.rec.recpack-{name}").write_text("left")
    others = [f"a.idx.recpack-{token}", "a.rec.recpack-notes", f"b.rec.recpack-{token}"]
    for name in others:
        (tmp_path / name).write_text("another output's")
    with FileSink(tmp_path / "a.rec") as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
        publish(sink, 3)
    assert names(tmp_path) == sorted([*ALL, *others])
    assert (tmp_path / "a.rec").read_bytes() == b"new"


@pytest.mark.parametrize("left", ["a.json.recpack-partial", "a.rec.recpack-0123456789abcdef.json"])
def test_what_lies_beside_it_does_not_make_a_file_ours(tmp_path: Path, left: str) -> None:
    (tmp_path / "a.rec").write_text("of another tool, so without a manifest")
    (tmp_path / left).write_text("{}")
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
    kind = ConfigError if output == "a.txt" else SinkError
    with pytest.raises(kind, match=message):
        FileSink(os.path.join(tmp_path, output)).__enter__()


@pytest.mark.parametrize("suffix", [".rec", ".idx", ".lst", ".quarantine.tsv", ".json"])
def test_an_obstacle_is_found_before_anything_changes(tmp_path: Path, suffix: str) -> None:
    for name in ALL:
        (tmp_path / name).write_text("old")
    obstacle = (tmp_path / "a").with_suffix(suffix)
    obstacle.unlink(missing_ok=True)
    os.mkfifo(obstacle)
    before = names(tmp_path)
    message = rf"a{suffix} is not a file; move it away"
    with pytest.raises(SinkError, match=message):
        FileSink(tmp_path / "a.rec", overwrite=True).__enter__()
    obstacle.unlink()
    with FileSink(tmp_path / "a.rec", overwrite=True) as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
        obstacle.mkdir()  # after the run has begun
        with pytest.raises(SinkError, match=message):
            publish(sink, 3)
    assert names(tmp_path) == before
    assert {(tmp_path / name).read_text() for name in before if name != obstacle.name} == {"old"}


def test_another_users_file_in_a_sticky_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.idx").write_text("mine")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(SinkError, match=r"a.idx belongs to another user"):
        FileSink(tmp_path / "a.rec", overwrite=True).__enter__()
    assert names(tmp_path) == ["a.idx"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    """At no name that can be foreseen, and every output's name is one."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    partial = [f"{name}.recpack-partial" for name in (*ALL, "a.quarantine.tsv")]
    planted = [*partial, "a.rec.recpack-partial-0", "a.rec.recpack-lengths"]
    for name in (*planted, *ALL, "a.rec.recpack-journal"):
        (folder / name).symlink_to(victim)
    with pytest.raises(SinkError, match="--overwrite"):
        FileSink(folder / "a.rec").__enter__()
    for target in (victim, tmp_path / "nothing"):
        (folder / "a.idx").unlink()
        (folder / "a.idx").symlink_to(target)
        with FileSink(folder / "a.rec", overwrite=True) as sink:
            sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
            publish(sink, 3)
        assert not (folder / "a.idx").is_symlink()  # the link is replaced
    assert names(folder) == sorted([*planted, *ALL])
    assert names(tmp_path) == ["shared", "victim"]
    assert victim.read_text() == "precious"
    (folder / "a.rec.recpack-lock").symlink_to(victim)
    with pytest.raises(SinkError, match=r"a.rec.recpack-lock: .*; remove it, then run again"):
        FileSink(folder / "a.rec", overwrite=True).__enter__()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.rec.recpack-lock")
    with pytest.raises(SinkError, match=r"a.rec.recpack-lock.*remove it, then run again"):
        FileSink(tmp_path / "a.rec").__enter__()


def test_names_that_are_too_long(tmp_path: Path) -> None:
    fits = "n" * 206 + ".rec"
    with FileSink(tmp_path / fits) as sink:
        sink.open(SinkPlan(segments=1)).write(0, filled(b"new"), 0)
        sink.publish(written(3), {".idx": ["i\n"], ".quarantine.tsv": ["q\n"]}, lambda _: "{}\n")
    assert len(names(tmp_path)) == 4
    for excess in (1, 50):
        with pytest.raises(SinkError, match=f"its name is {excess} bytes too long"):
            FileSink(tmp_path / "new" / ("é" * excess + fits[excess:]))
    deep = tmp_path.joinpath(*["d" * 200] * 20, "a.rec")
    with pytest.raises(SinkError, match=r"its path is .* bytes too long"):
        FileSink(deep)
    assert len(names(tmp_path)) == 4
