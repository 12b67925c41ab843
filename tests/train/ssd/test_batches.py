"""From records to batches: the same ones however they are made."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

import recpack
from tests.support.devkits import jpeg
from tests.support.s3server import Blob, S3Server
from train.errors import SpecError, TrainError
from train.ssd import batches
from train.ssd.augment import decode, resize
from train.ssd.batches import Batch, Loader

COUNT, SIDE = 11, 24


def boxes_of(number: int) -> list[list[float]]:
    """0 to 3 objects of a class that no other record has; the last one is difficult."""
    edges = [[number, 0.1 * k, 0.2, 0.1 * k + 0.3, 0.9, 0] for k in range(number % 4)]
    if edges:
        edges[-1][5] = 1
    return edges


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("rec") / "a.rec")


def write(path: Path, images: Callable[[int], bytes] | None = None, count: int = COUNT) -> Path:
    with recpack.RecordWriter(path, overwrite=True) as writer:
        for number in range(count):
            image = jpeg(40 + number, 30, number) if images is None else images(number)
            writer.write(image, np.reshape(np.float32(boxes_of(number)), (-1, 6)))
    return path


def load(rec: str | Path | list[Path], **options: object) -> Loader:
    return Loader(rec, **{"batch_size": 4, "image_shape": SIDE, "label_width": 32, **options})


def same(ones: list[Batch], others: list[Batch]) -> bool:
    return len(ones) == len(others) and all(
        torch.equal(a, b) for one, other in zip(ones, others, strict=True)
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip


@pytest.fixture(scope="module")
def shards(rec: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same records in three files."""
    folder = tmp_path_factory.mktemp("shards")
    with recpack.RecordReader(rec) as reader:
        records = list(reader)
    paths = []
    for number, part in enumerate((records[:5], records[5:6], records[6:])):
        paths.append(folder / f"a-0000{number}-of-00003.rec")
        with recpack.RecordWriter(paths[-1]) as writer:
            for record in part:
                writer.write(record.image_bytes, record.boxes)
    return paths


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_set_of_shards_gives_the_batches_of_one_file(
    rec: Path, shards: list[Path], training: bool, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.ssd.shards._OPEN", 2)  # in this process: they change places
    for epoch in range(2):
        one = list(load(rec, training=training, seed=3).epoch(epoch))
        with closing(load(shards, training=training, seed=3, workers=workers)) as loader:
            assert same(list(loader.epoch(epoch)), one)


def test_a_shard_that_is_replaced_is_named(shards: list[Path], tmp_path: Path) -> None:
    own = [Path(shutil.copy(path, tmp_path)) for path in shards]
    loader = load(own, training=False)
    write(own[1], count=1)
    with pytest.raises(TrainError, match=f"^{own[1]}: another file has just replaced it"):
        list(loader.epoch(0))


def test_validation_gives_the_file_as_it_is(rec: Path) -> None:
    loader = load(rec, training=False)
    found = list(loader.epoch(0))
    assert len(found) == len(loader) == 3
    assert [len(batch.images) for batch in found] == [4, 4, 3]
    assert same(found, list(loader.epoch(5)))
    images, labels = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    assert images.dtype == np.uint8
    assert labels.dtype == np.float32
    assert labels.shape == (COUNT, 8, 6)
    with recpack.RecordReader(rec) as reader:
        for number, record in enumerate(reader):
            pixels = resize(decode(record.image_bytes, ""), SIDE)
            np.testing.assert_array_equal(images[number], pixels)
            rows = np.full((8, 6), -1, np.float32)
            rows[: number % 4] = np.reshape(boxes_of(number), (-1, 6))
            np.testing.assert_array_equal(labels[number], rows)


def classes_of(batch: Batch) -> list[list[float]]:
    return [sorted({one for one in rows[:, 0].tolist() if one >= 0}) for rows in batch.labels]


def test_a_training_epoch_has_every_picture_in_full_batches(rec: Path) -> None:
    loader = load(rec, training=True, seed=3)
    first, second = list(loader.epoch(0)), list(loader.epoch(1))
    assert len(first) == len(loader) == 3
    for epoch in (first, second):
        assert {batch.images.shape for batch in epoch} == {(4, SIDE, SIDE, 3)}
        seen = [classes for batch in epoch for classes in classes_of(batch)]
        assert len(seen) == 12
        assert sorted(one[0] for one in seen[:COUNT] if one) == [n for n in range(COUNT) if n % 4]
        assert seen[COUNT] == seen[0], "the last batch is filled from the start"
        assert not torch.equal(epoch[0].images[0], epoch[2].images[3]), "and changed anew"
    assert [classes_of(one) for one in first] != [classes_of(one) for one in second]
    assert same(first, list(load(rec, training=True, seed=3).epoch(0)))
    assert not same(first, list(load(rec, training=True, seed=4).epoch(0)))
    (many,) = load(rec, training=True, batch_size=30).epoch(0)
    assert len(many.images) == 30


def test_ranks_together_are_one(rec: Path) -> None:
    whole = list(load(rec, training=True).epoch(2))
    ranks = [
        list(load(rec, training=True, batch_size=2, rank=rank, world=2).epoch(2))
        for rank in range(2)
    ]
    assert len(ranks[0]) == len(ranks[1]) == len(whole)
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(batch.images, torch.cat([part.images for part in parts]))
    (one,) = load(rec, training=False, batch_size=COUNT).epoch(0)
    loaders = [load(rec, training=False, batch_size=2, rank=rank, world=3) for rank in range(3)]
    parts = [torch.cat([batch.images for batch in loader.epoch(0)]) for loader in loaders]
    assert [len(part) for part in parts] == [4, 4, 3]
    assert [len(loader) for loader in loaders] == [2, 2, 2]
    for rank, part in enumerate(parts):
        assert torch.equal(part, one.images[rank::3])


def children(server: int | None = None) -> set[int]:
    """The workers: all that a fork server has started, here this process's own."""
    parent = str(vars(forkserver._forkserver)["_forkserver_pid"] if server is None else server)
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "stat").read_text().rpartition(")")[2].split()[1] == parent:
                found.add(int(folder.name))
    return found


def ended(pids: set[int], seconds: float = 30) -> bool:
    """Whether the processes end, within some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() and not zombie(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def zombie(pid: int) -> bool:
    with suppress(OSError):
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    return True


@pytest.mark.slow
def test_workers_change_nothing_and_end(rec: Path, tmp_path: Path) -> None:
    here, there = load(rec, training=True), load(rec, training=True, workers=2)
    assert same(list(here.epoch(0)), list(there.epoch(0)))
    running = children()
    assert len(running) == 2
    next(there.epoch(1))  # and it is left
    assert same(list(here.epoch(2)), list(there.epoch(2))), "an epoch that was left does no harm"
    assert children() == running
    os.kill(min(running), signal.SIGKILL)
    with pytest.raises(TrainError, match=r"a\.rec: a process that prepares pictures has died"):
        for number in range(3, 50):
            list(there.epoch(number))
    assert ended(running)
    assert same(list(here.epoch(4)), list(there.epoch(4))), "and it starts again"
    running = children()
    there.close()
    there.close()
    assert ended(running)
    # what a worker finds wrong is said in the same words
    path = write(tmp_path / "b.rec", lambda number: b"nothing" if number == 6 else jpeg())
    broken = load(path, training=True, workers=1)
    with pytest.raises(TrainError, match=r"^\S+b\.rec: record 6 at byte \d+: no image"):
        list(broken.epoch(0))
    assert ended(children())


SCRIPT = """
import sys, time
from train.ssd.batches import Loader

if __name__ == "__main__":
    loader = Loader(sys.argv[1], batch_size=2, image_shape=24, label_width=32, training=True,
                    workers=2)
    for number in range(1_000_000):
        for batch in loader.epoch(number):
            pass
        if number == 0:
            from multiprocessing.forkserver import _forkserver
            print(_forkserver._forkserver_pid, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_training(
    rec: Path, tmp_path: Path, signal_: signal.Signals
) -> None:
    script = tmp_path / "fit.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, rec], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.fspath(Path(recpack.__file__).parents[1])},
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    server = process.stdout.readline().strip()
    assert server, process.communicate()[1]
    workers = children(int(server))
    assert len(workers) == 2
    if signal_ == signal.SIGINT:
        os.killpg(process.pid, signal_)  # as a terminal does
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode
    assert ended(workers | {int(server)})
    assert errors.count("Traceback") <= 1, errors


@pytest.fixture
def server(rec: Path) -> Iterator[S3Server]:
    server = S3Server()
    server.objects["a.rec"] = Blob(rec.read_bytes(), "0")
    yield server
    server.close()


def test_records_on_s3(rec: Path, server: S3Server) -> None:
    def remote(name: str = "a.rec", **options: object) -> Loader:
        return load(f"s3://bucket/{name}", training=True, endpoint_url=server.url, **options)

    with closing(remote()) as first, closing(remote()) as second:
        expected = list(load(rec, training=True).epoch(1))
        assert same(list(first.epoch(1)), expected)
        server.objects["a.rec"] = Blob(rec.read_bytes(), "1")
        with pytest.raises(TrainError, match=r"s3://bucket/a\.rec: another file has just replaced"):
            list(second.epoch(1))
    with pytest.raises(SpecError, match=r"s3://bucket/b\.rec"):
        remote("b.rec")


def test_what_can_not_be_read_is_named(rec: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.rec: No such file"):
        load(tmp_path / "none.rec", training=True)
    (tmp_path / "empty.rec").touch()
    with pytest.raises(SpecError, match=r"empty\.rec: it has no records"):
        load(tmp_path / "empty.rec", training=True)
    with pytest.raises(SpecError, match=r"label_width: \S+a\.rec: record 3 at byte \d+ has a label "
                       r"of 20 numbers, more than 19; choose label_width=20"):  # fmt: skip
        list(load(rec, training=False, label_width=19).epoch(0))
    with recpack.RecordWriter(tmp_path / "class.rec") as writer:
        writer.write(jpeg(), label=3)
    with pytest.raises(TrainError, match=r"class\.rec: record 0 at byte 0 has no detection label"):
        list(load(tmp_path / "class.rec", training=False).epoch(0))
    path = write(tmp_path / "b.rec", lambda number: b"nothing" if number == 6 else jpeg())
    with pytest.raises(TrainError, match=r"b\.rec: record 6 at byte \d+: no image"):
        list(load(path, training=False).epoch(0))


def test_more_columns_and_fewer(tmp_path: Path) -> None:
    for width in (5, 6, 8):
        path = tmp_path / f"{width}.rec"
        box = np.arange(3, 3 + width, dtype=np.float32)
        box[1:5] = 0.1, 0.2, 0.3, 0.4
        with recpack.RecordWriter(path) as writer:
            boxes = np.stack([box, box * (1, 1, 1, 0, *[1] * (width - 4))])
            writer.write(jpeg(), label=[2, width, *boxes.ravel()])
        (batch,) = load(path, training=False).epoch(0)
        row = np.float32([3, 0.1, 0.2, 0.3, 0.4, 8 if width > 5 else 0])
        np.testing.assert_array_equal(batch.labels[0, 0], row)
        assert (batch.labels[0, 1:] == -1).all(), "a box without area is none"


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.rec")
    loader = load(path, training=False)
    write(path)
    with pytest.raises(TrainError, match=r"a\.rec: another file has just replaced it"):
        list(loader.epoch(0))
    loader = load(path, training=False)
    found = loader.epoch(0)
    next(found)
    write(path, count=2)  # another file under its name; this one is read to its end
    assert len(list(found)) == 2
    path = write(tmp_path / "b.rec")
    found = load(path, training=False, batch_size=1).epoch(0)
    next(found)
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(TrainError, match=r"b\.rec: the file ends inside .* at byte \d+"):
        list(found)


class Stream:
    """Opens the bytes of a file, and says what is open."""

    def __init__(self, path: Path, cut: int | None = None) -> None:
        self.data = path.read_bytes()[:cut]
        self.opened: list[BinaryIO] = []

    def __call__(self, epoch: int) -> BinaryIO:
        assert epoch == len(self.opened)
        self.opened.append(io.BytesIO(self.data))
        return self.opened[-1]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_streams(rec: Path, workers: int) -> None:
    stream = Stream(rec)
    loader = load("", stream=stream, training=False, workers=workers)
    assert same(list(loader.epoch(0)), list(load(rec, training=False).epoch(0)))
    next(loader.epoch(1))
    loader.close()
    assert [one.closed for one in stream.opened] == [True, True]
    with pytest.raises(TypeError, match="known at its end"):
        len(loader)


def test_a_stream_is_mixed_and_fills_its_last_batch(
    rec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_MIXED", 5)
    orders = []
    for seed in (0, 0, 1):
        found = list(load("", stream=Stream(rec), training=True, seed=seed).epoch(0))
        assert [len(one.images) for one in found] == [4, 4, 4]
        seen = [classes for batch in found for classes in classes_of(batch)]
        assert sorted(one[0] for one in seen[:COUNT] if one) == [n for n in range(COUNT) if n % 4]
        assert seen[COUNT] == seen[0]
        orders.append(seen)
    assert orders[0] == orders[1] != orders[2]


def test_streams_that_end_early_or_can_not_be_shared(rec: Path, tmp_path: Path) -> None:
    found = load("train", stream=Stream(rec, 3000), training=False, batch_size=1).epoch(0)
    with pytest.raises(TrainError, match=r"train of epoch 0: the file ends inside .* at byte"):
        assert list(found)
    with pytest.raises(TrainError, match="the stream of epoch 0: it has no records"):
        list(load("", stream=Stream(rec, 0), training=True).epoch(0))
    with pytest.raises(SpecError, match="train: only one process can read a stream, not 2"):
        load("train", stream=Stream(rec), training=True, world=2)
    pipe = tmp_path / "train_0"

    def opened(epoch: int) -> BinaryIO:
        return (tmp_path / f"train_{epoch}").open("rb")

    with pytest.raises(TrainError, match=r"train of epoch 0: .*No such file"):
        list(load("train", stream=opened, training=True).epoch(0))
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(rec.read_bytes())).start()
    assert len(list(load("train", stream=opened, training=True).epoch(0))) == 3
