"""``recpack.mxrecordio`` against ``mxnet.recordio``: the same calls do the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recpack
from recpack import mxrecordio
from tests.conftest import Oracle
from tests.support import strategies
from tests.support.devkits import MAGIC
from tests.support.recordio_calls import play
from tests.support.sets import write_set

REC, IDX = {"path": "a.rec"}, {"path": "a.idx"}
PAYLOADS = [b"", b"aaaaa", MAGIC * 2, b"x" + MAGIC, b"abcd" + MAGIC + b"e", b"\0" * 9]


def data(value: bytes) -> dict[str, str]:
    return {"hex": value.hex()}


WRITE = [
    ["w=", "MXIndexedRecordIO", IDX, REC, "w"],
    *(
        step
        for key, payload in enumerate(PAYLOADS)
        for step in (["w", "tell"], ["w", "write_idx", key, data(payload)])
    ),
    ["w", "idx"], ["w", "keys"], ["w", "tell"], ["w", "close"], ["w", "close"],
]  # fmt: skip
READ = [["r", "read"]] * (len(PAYLOADS) + 2)

SCRIPTS: dict[str, list[list[Any]]] = {
    "in order": [*WRITE, ["r=", "MXRecordIO", REC, "r"], *READ, ["r", "reset"], ["r", "read"]],
    "by key": [
        *WRITE, ["r=", "MXIndexedRecordIO", IDX, REC, "r"], ["r", "keys"], ["r", "idx"],
        ["r", "read_idx", 3], ["r", "read"], ["r", "seek", 1], ["r", "read"], ["r", "read_idx", 77],
        ["r", "read_idx", "1"], ["r", "reset"], ["r", "read"], ["r", "keys"],
    ],
    "keys of another type": [
        *WRITE, ["r=", "MXIndexedRecordIO", IDX, REC, "r", {"type": "str"}], ["r", "keys"],
        ["r", "read_idx", "1"], ["r", "read_idx", 1],
    ],
    "what a key becomes": [
        ["w=", "MXIndexedRecordIO", IDX, REC, "w"], ["w", "write_idx", "3", data(b"a")],
        ["w", "write_idx", 1.7, data(b"b")], ["w", "write_idx", 3, data(b"c")],
        ["w", "write_idx", "x", data(b"")], ["w", "idx"], ["w", "keys"], ["w", "close"],
    ],
    "a writer does not read": [
        ["w=", "MXIndexedRecordIO", IDX, REC, "w"], ["w", "read"], ["w", "read_idx", 0],
        ["w", "seek", 0], ["w", "writable"], ["w", "is_open"], ["w", "flag"],
    ],
    "a reader does not write": [
        *WRITE, ["r=", "MXIndexedRecordIO", IDX, REC, "r"], ["r", "write", data(b"x")],
        ["r", "write_idx", 1, data(b"x")], ["r", "tell"], ["r", "writable"],
    ],
    "a writer begins again": [
        ["w=", "MXIndexedRecordIO", IDX, REC, "w"], ["w", "write_idx", 0, data(b"old")],
        ["w", "reset"], ["w", "keys"], ["w", "write_idx", 5, data(b"new")], ["w", "close"],
    ],
    "what is no bytes": [
        ["w=", "MXRecordIO", REC, "w"], ["w", "write", "text"], ["w", "write", None],
        ["w", "write", {"floats": [1]}], ["w", "write", data(b"x")], ["w", "close"],
    ],
    "after close": [
        *WRITE, ["w", "write", data(b"x")], ["r=", "MXRecordIO", REC, "r"], ["r", "close"],
        ["r", "read"], ["r", "is_open"], ["r", "reset"], ["r", "read"],
        ["i=", "MXIndexedRecordIO", IDX, REC, "r"], ["i", "close"], ["i", "read"],
        ["i", "read_idx", 1], ["i", "is_open"],
    ],
    "pickled": [
        *WRITE, ["r=", "MXRecordIO", REC, "r"], ["r", "read"], ["r", "pickled"], *READ,
        ["i=", "MXIndexedRecordIO", IDX, REC, "r"], ["i", "pickled"], ["i", "keys"],
        ["i", "read_idx", 4], ["i", "close"], ["i", "pickled"], ["i", "is_open"],
        ["i", "read_idx", 1],
        ["w=", "MXRecordIO", {"path": "b.rec"}, "w"], ["w", "write", data(b"old")],
        ["w", "pickled"], ["w", "write", data(b"new")], ["w", "close"],
    ],
    "in a forked process": [
        *WRITE, ["r=", "MXIndexedRecordIO", IDX, REC, "r"], ["r", "in a child", "read"],
        ["r", "in a child", "read_idx", 4], ["r", "read"],
        ["w=", "MXRecordIO", {"path": "b.rec"}, "w"], ["w", "write", data(b"x")],
        ["w", "in a child", "write", data(b"y")], ["w", "write", data(b"z")], ["w", "close"],
    ],
    "what can not be opened": [
        ["r=", "MXRecordIO", {"path": "none.rec"}, "r"],
        ["r=", "MXRecordIO", {"path": "none/a.rec"}, "w"],
        ["r=", "MXRecordIO", REC, "a"],
        ["w=", "MXRecordIO", REC, "w"], ["w", "close"],
        ["r=", "MXIndexedRecordIO", IDX, REC, "r"],
        ["r=", "MXRecordIO", REC, "r"], ["r", "read"], ["r", "read"],
    ],
    "pack": [
        ["", "pack", [0, label, 7, 9], data(b"xy")]
        for label in (3.5, 2, True, [1, 2], [], [[1, 2], [3, 4]], {"floats": [5]}, "x", None)
    ] + [
        ["", "pack", [8, 1, -7, 9], data(b"")], ["", "pack", [8, 1, 7, 1 << 64], data(b"")],
        ["", "pack", [8, 1, 7, 9], "text"], ["", "pack", [8, [1], 7, 9], "text"],
        ["", "pack", [8, 1, 7], data(b"")], ["", "pack", [8, 1, 7.5, 9], data(b"")],
        ["", "pack", [8, 1e40, 7, 9], data(b"")],
    ],
    "unpack": [
        ["", "unpack", data(payload)]
        for payload in (
            mxrecordio.pack((0, [1, 2], 7, 9), b"xy"), mxrecordio.pack((0, 1.5, 7, 9), b""),
            mxrecordio.pack((0, [1, 2], 7, 9), b"")[:-2], b"abc", b"\1" * 24, b"",
        )
    ],
    "images": [
        *(
            ["", "pack_img", [0, [1, 2], 3, 4], {"pixels": shape}, *options]
            for shape in ([20, 30, 3], [20, 30])
            for options in (
                [], [40], [95, ".JPEG"], [3, ".png"], [9, ".PNG"], [95, ".bmp"], [95, ".none"],
            )
        ),
        *(
            ["", "unpack_img", data(mxrecordio.pack_img((0, 1, 2, 3), np.eye(9, dtype=np.uint8), 1,
                                                        ".png")), *options]
            for options in ([], [0], [1])
        ),
        ["", "unpack_img", data(mxrecordio.pack((0, 1, 2, 3), b"no image"))],
        ["", "unpack_img", data(mxrecordio.pack((0, 1, 2, 3), b""))],
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_calls_do_the_same(name: str, oracle: Oracle, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    expected = oracle("recordio", theirs, SCRIPTS[name])
    assert json.loads(json.dumps(play(mxrecordio, str(ours), SCRIPTS[name]))) == expected
    if name not in ("in a forked process", "what can not be opened"):
        files = {path.name: path.read_bytes() for path in theirs.iterdir()}
        assert {path.name: path.read_bytes() for path in ours.iterdir()} == files


@settings(max_examples=50)
@given(payloads=st.lists(strategies.payload_bytes, max_size=6))
def test_the_bytes_are_the_same_both_ways(
    oracle: Oracle, tmp_path: Path, payloads: list[bytes]
) -> None:
    write: list[list[Any]] = [["w=", "MXIndexedRecordIO", IDX, REC, "w"]]
    write += [["w", "write_idx", key, data(payload)] for key, payload in enumerate(payloads)]
    write += [["w", "close"]]
    read = [["r=", "MXRecordIO", REC, "r"], *[["r", "read"]] * (len(payloads) + 1)]
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    play(mxrecordio, str(folders[0]), write)
    oracle("recordio", folders[1], write)
    for name in ("a.rec", "a.idx"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    expected = [None, *map(data, payloads), None]
    assert play(mxrecordio, str(folders[1]), read) == expected
    assert oracle("recordio", folders[0], read) == expected


def written(path: Path) -> Path:
    with_index = mxrecordio.MXIndexedRecordIO(path.with_suffix(".idx"), path, "w")
    for key, payload in enumerate(PAYLOADS):
        with_index.write_idx(key, payload)
    with_index.close()
    return path


def first_words(reader: mxrecordio.MXRecordIO) -> list[bytes | None]:
    return [reader.read() for _ in range(3)]


def test_another_process_gets_a_reader(tmp_path: Path) -> None:
    reader = mxrecordio.MXRecordIO(written(tmp_path / "a.rec"), "r")
    reader.read()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(first_words, (reader,)) == PAYLOADS[:3]
    assert reader.read() == PAYLOADS[1]  # pickling closed MXNet's
    reader.close()


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda data: data[:-3], None),
        (lambda data: data[:-9], "claims 9 bytes"),
        (lambda data: data[:-15], "ends inside a record header"),
        (lambda data: data[:24] + b"garbage!" + data[24:], "no record at byte 24"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, cut: Any, message: str | None) -> None:
    path = written(tmp_path / "a.rec")
    path.write_bytes(cut(path.read_bytes()))
    reader = mxrecordio.MXRecordIO(path, "r")
    if message is None:  # only the padding of the last record is missing
        assert [reader.read() for _ in range(len(PAYLOADS) + 1)] == [*PAYLOADS, None]
    else:
        with pytest.raises(RuntimeError, match=rf"a\.rec: .*{message}") as caught:
            while reader.read() is not None:
                pass
        assert isinstance(caught.value, recpack.RecordError)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), mxrecordio.MXNetError)
    reader.close()


def test_a_child_does_not_write_what_is_the_parents(tmp_path: Path) -> None:
    writer = mxrecordio.MXRecordIO(tmp_path / "a.rec", "w")
    writer.write(b"once")
    child = os.fork()
    if not child:
        writer.close()
        os._exit(0)
    os.waitpid(child, 0)
    writer.close()
    assert (tmp_path / "a.rec").stat().st_size == 12


def test_what_can_not_be_written(tmp_path: Path) -> None:
    writer = mxrecordio.MXRecordIO("/dev/full", "w")
    writer.write(b"x")
    with pytest.raises(mxrecordio.MXNetError, match="/dev/full: can't be written: No space left"):
        writer.close()
    writer = mxrecordio.MXRecordIO(tmp_path / "a.rec", "w")
    with pytest.raises(mxrecordio.MXNetError, match=r"a\.rec: a record of 536,870,912 bytes"):
        writer.write(bytes(1 << 29))
    writer.close()
    header = mxrecordio.IRHeader(0, [1, 2], 3, 4)
    assert pickle.loads(pickle.dumps(header)) == header


def test_what_recpack_wrote(tmp_path: Path) -> None:
    write_set(tmp_path, 5)
    path = tmp_path / "x-00000-of-00001.rec"
    reader = mxrecordio.MXIndexedRecordIO(path.with_suffix(".idx"), path, "r")
    with recpack.RecordReader(path) as records:
        for key, record in enumerate(records):
            payload = reader.read_idx(key)
            assert payload is not None
            header, image = mxrecordio.unpack(payload)
            assert (header.label, header.id, image) == (key, key, record.image_bytes)
    reader.close()
