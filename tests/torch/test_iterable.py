"""Each sample once an epoch: among ranks and workers, through kills, in an order that is known."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torch.utils.data._utils import worker as torch_worker

import recpack
from recpack.torch import RecordIterableDataset, order
from recpack.torch import records as torch_records
from tests.conftest import Store
from tests.support import strategies
from tests.support.devkits import encode_record
from tests.support.s3server import Blob, S3Server
from tests.support.sets import write_set
from tests.support.strategies import Division

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # few cores
ROOT = Path(recpack.__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the files of ``write``."""
    return tmp_path_factory.mktemp("files")


def write(folder: Path, counts: list[int]) -> list[Path]:
    """A file for each count; the classes are 0, 1, … through all of them."""
    paths, first = [], 0
    for count in counts:
        paths.append(folder / f"{first}-{count}.rec")
        if not paths[-1].exists():
            labels = range(first, first + count)
            paths[-1].write_bytes(b"".join(encode_record(k, [k], b"image") for k in labels))
        first += count
    return paths


def dataset(paths: Any, **options: Any) -> RecordIterableDataset:
    return RecordIterableDataset(paths, **{"decode": None, "buffer_size": 4, **options})


def load(data: RecordIterableDataset, division: Division) -> Iterator[list[int]]:
    """The batches of a ``DataLoader``, whose workers all run here: it takes one of each in turn."""
    iterators = []
    for worker in range(max(division.workers, 1)):
        info = torch_worker.WorkerInfo(
            id=worker, num_workers=division.workers, seed=0, dataset=data
        )
        with pytest.MonkeyPatch.context() as patch:
            if division.workers:
                patch.setattr(torch_worker, "_worker_info", info)
            iterators.append(iter(data))
    while iterators:
        for one in list(iterators):
            if batch := [label for _, label in islice(one, division.batch_size)]:
                yield batch
            else:
                iterators.remove(one)


def epoch_of_a_rank(
    paths: list[Path], division: Division, epoch: int, **options: Any
) -> list[list[int]]:
    """The batches of an epoch that was begun, killed, gone on with, killed …"""
    given: list[list[int]] = []
    state = None
    for batches in [*division.kills, sys.maxsize]:
        data = dataset(paths, world_size=division.world_size, **options)
        if state is not None:
            data.load_state_dict(pickle.loads(pickle.dumps(state)))
        data.set_epoch(epoch)
        more = list(islice(load(data, division), batches))
        given += more
        loader: Any = DataLoader(data, batch_size=division.batch_size, num_workers=division.workers)
        state = data.state_after(loader, len(more))
    return given


@given(
    strategies.file_counts,
    st.lists(strategies.divisions, min_size=1, max_size=2),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from([1, 100, 1 << 24]),
    st.sampled_from(["keep", "keep", "drop", "pad"]),
    st.booleans(),
)
def test_each_sample_once_an_epoch(
    folder: Path,
    counts: list[int],
    epochs: list[Division],
    buffer_size: int,
    shuffle: bool,
    block_bytes: int,
    tail: str,
    mapped: bool,
) -> None:
    """For any numbers of files, samples, ranks and workers, which differ from epoch to epoch, and
    whatever is killed and gone on with."""
    paths, total = write(folder, counts), sum(counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "_BLOCK_BYTES", block_bytes)
        for epoch, division in enumerate(epochs):
            options: dict[str, Any] = {
                "buffer_size": buffer_size, "shuffle": shuffle, "seed": 5, "tail": tail,
                "mapped": mapped,
            }  # fmt: skip
            whole = division._replace(kills=[])
            found: list[int] = []
            for rank in range(division.world_size):
                batches = epoch_of_a_rank(paths, whole, epoch, rank=rank, **options)
                killed = epoch_of_a_rank(paths, division, epoch, rank=rank, **options)
                assert killed == batches
                found += chain.from_iterable(batches)
                data = dataset(paths, rank=rank, world_size=division.world_size, **options)
                assert len(data) == sum(map(len, batches))
            if tail != "keep":
                most = max(map(found.count, found), default=0)
                assert most <= -(-len(found) // max(total, 1))
                missing = total - len(set(found))
                assert missing == (total % division.world_size if tail == "drop" else 0)
                continue
            assert sorted(found) == list(range(total))
            if not shuffle and not division.workers:
                assert found == list(range(total))


@given(strategies.file_counts, st.lists(st.integers(0, 6), max_size=4), st.booleans())
def test_an_iteration_here_goes_on_where_it_was(
    folder: Path, counts: list[int], kills: list[int], shuffle: bool
) -> None:
    paths = write(folder, counts)
    data = dataset(paths, shuffle=shuffle)
    data.set_epoch(2)
    whole = [label for _, label in data]
    found: list[int] = []
    for samples in kills:
        found += [label for _, label in islice(data, samples)]
        state = data.state_dict()
        data = dataset(paths, shuffle=shuffle)
        data.load_state_dict(state)
        assert data.epoch == 2
    assert found + [label for _, label in data] == whole
    assert [label for _, label in data] == whole


@pytest.mark.parametrize(
    ("tail", "lengths"), [("keep", [4, 3, 3]), ("drop", [3] * 3), ("pad", [4] * 3)]
)
def test_equal_ranks(tmp_path: Path, tail: str, lengths: list[int]) -> None:
    paths = write(tmp_path, [6, 4])
    found = []
    for rank in range(3):
        data = dataset(paths, rank=rank, world_size=3, tail=tail, shuffle=True)
        found.append([label for _, label in data])
        assert len(data) == lengths[rank]
    assert [len(one) for one in found] == lengths
    repeated = sum(lengths) - len({label for one in found for label in one})
    assert repeated == (2 if tail == "pad" else 0)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_system_reads_a_local_file_in_advance(
    tmp_path: Path, shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of each record once, before the record is read, in the order of the blocks."""
    (path,) = write(tmp_path, [40])
    offsets = recpack.RecordReader(path).offsets.tolist()
    told: set[int] = set()
    advise = os.posix_fadvise

    def record(descriptor: int, start: int, length: int, advice: int) -> None:
        advise(descriptor, start, length, advice)
        found = {n for n, offset in enumerate(offsets) if start <= offset <= start + length}
        assert not (found & told)
        told.update(found)

    monkeypatch.setattr(os, "posix_fadvise", record)
    monkeypatch.setattr(order, "_BLOCK_BYTES", 200)
    monkeypatch.setattr(torch_records, "_BATCH_BYTES", 120)
    data = dataset(path, shuffle=shuffle, buffer_size=4)
    assert data._records._batch < 5
    for count, (_, label) in enumerate(data, 1):
        assert label in told
        assert len(told) <= count + (4 if shuffle else 1) + 2 * data._records._batch
    assert told == set(range(40))


def test_a_state_before_the_iteration(tmp_path: Path) -> None:
    data = dataset(write(tmp_path, [5]))
    begin = data.state_dict()
    next(iter(data))
    state = data.state_dict()
    assert (begin["samples"], state["samples"]) == ([0], [1])
    list(data)
    data.load_state_dict(state)
    assert data.state_dict() == state
    data.set_epoch(1)
    assert data.state_dict() == {**begin, "epoch": 1}


def plain(data: RecordIterableDataset, **options: Any) -> DataLoader[Any]:
    return DataLoader(data, batch_size=2, num_workers=2, collate_fn=list, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("context", "stay"), [("fork", False), ("fork", True), ("spawn", True)])
def test_a_loader_with_workers(tmp_path: Path, context: str, stay: bool) -> None:
    """Also one whose workers stay: they see the epoch, and begin only once at the state."""
    paths = write(tmp_path, [7, 4])
    expected = {}
    for epoch in (0, 1):
        data = dataset(paths, shuffle=True)
        data.set_epoch(epoch)
        expected[epoch] = list(load(data, Division(1, 2, 2, [])))
        assert sorted(chain.from_iterable(expected[epoch])) == list(range(11))
    assert expected[0] != expected[1]
    state = data.state_after(plain(data), 3)
    again = dataset(paths, shuffle=True)
    again.load_state_dict(state)
    loader = plain(again, multiprocessing_context=context, persistent_workers=stay)
    assert [[label for _, label in batch] for batch in loader] == expected[1][3:]
    assert [[label for _, label in batch] for batch in loader] == expected[1]
    again.set_epoch(0)
    assert [[label for _, label in batch] for batch in loader] == expected[0]


def test_a_set_of_shards_by_its_name(tmp_path: Path) -> None:
    data = dataset(write_set(tmp_path, 4, 1, 6), shuffle=True)
    assert sorted(label for _, label in data) == list(range(11))
    batches = [[label for _, label in batch] for batch in plain(data)]
    assert sorted(chain.from_iterable(batches)) == list(range(11))


def test_it_reads_from_s3(store: Store) -> None:
    urls = [f"s3://{store.bucket}/train/{name}.rec" for name in "ab"]
    for first, url in zip((0, 6), urls, strict=True):
        with recpack.RecordWriter(url, endpoint_url=store.url) as writer:
            for number in range(first, first + 6):
                writer.write(b"image", label=number)
    data = dataset(urls, endpoint_url=store.url, shuffle=True)
    here = [label for _, label in data]
    assert sorted(here) == list(range(12))
    assert [label for _, label in data] == here
    batches = [[label for _, label in batch] for batch in plain(data)]
    assert sorted(chain.from_iterable(batches)) == list(range(12))


def test_it_asks_s3_for_ranges_in_advance(
    hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its own part of a shuffled epoch a rank reads each block once, in few requests, several of
    them at once; not one for each sample."""
    records = [encode_record(number, [number], bytes(20_000)) for number in range(40)]
    size = len(records[0])
    lines = "".join(f"{number}\t{number * size}\n" for number in range(40))
    hostile.objects["p/d/a.rec"] = Blob(b"".join(records), "one")
    hostile.objects["p/_recpack/a.idx"] = Blob(lines.encode(), "two")
    hostile.fault = lambda _: 0.02
    monkeypatch.setattr(order, "_BLOCK_BYTES", 5 * size)  # 8 of them
    monkeypatch.setattr(torch_records, "_BATCH_BYTES", 10 * size)
    found: list[int] = []
    for rank in (0, 1):
        data = dataset(
            "s3://bucket/p/d/a.rec", endpoint_url=hostile.url, rank=rank, world_size=2,
            shuffle=True, buffer_size=3,
        )  # fmt: skip
        hostile.requests.clear()
        hostile.most_at_once = 0
        found += [label for _, label in data]
        gets = [request for request in hostile.requests if request.name == "get_object"]
        assert len(gets) <= 6
        assert hostile.most_at_once > 1
        ranges = [request.headers["range"].removeprefix("bytes=").split("-") for request in gets]
        assert sum(int(last) - int(first) + 1 for first, last in ranges) == 20 * size
    assert sorted(found) == list(range(40))


SCRIPT = """
import sys
from torch import distributed
from torch.utils.data import DataLoader
from recpack.torch import RecordIterableDataset

if __name__ == "__main__":
    rank, store, rec, context = int(sys.argv[1]), *sys.argv[2:]
    data = RecordIterableDataset(rec, decode=None, shuffle=True, tail="pad")
    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    found = [[label for _, label in data]]  # in this process, then in its workers
    loader = DataLoader(
        data, batch_size=2, num_workers=1, collate_fn=list, multiprocessing_context=context
    )
    found.append([label for batch in loader for _, label in batch])
    everything = [None, None]
    distributed.all_gather_object(everything, found)
    distributed.destroy_process_group()
    assert everything[0][0] == everything[0][1] and everything[1][0] == everything[1][1]
    print(*sorted(everything[0][0] + everything[1][0]))
"""


@pytest.mark.slow
def test_ranks_of_torch_distributed(tmp_path: Path) -> None:
    """It is initialised after the data set is made; one rank forks its workers, one starts them
    afresh, and these know nothing of it."""
    (path,) = write(tmp_path, [11])
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "error", script, str(rank), tmp_path / "store", path, context],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.fspath(ROOT), "OMP_NUM_THREADS": "1"},
        )
        for rank, context in enumerate(("fork", "spawn"))
    ]
    outputs = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    for output in outputs:
        labels = [int(word) for word in output.split()]
        assert len(labels) == 12
        assert set(labels) == set(range(11))


def test_copies_are_independent(tmp_path: Path) -> None:
    data = dataset(write(tmp_path, [5]), shuffle=True)
    data.set_epoch(3)
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert [label for _, label in other] == [label for _, label in data]
        other.set_epoch(4)
        assert data.epoch == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"rank": 0, "world_size": 2}, "world_size: 1 then, 2 now"),
        ({"buffer_size": 5}, "buffer_size: 4 then, 5 now"),
    ],
)
def test_the_state_of_another_order_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    paths = write(tmp_path, [5])
    state = dataset(paths, shuffle=True).state_dict()
    with pytest.raises(recpack.ConfigError, match=message):
        dataset(paths, **{"shuffle": True, **options}).load_state_dict(state)


def test_the_state_of_other_workers_is_refused(tmp_path: Path) -> None:
    data = dataset(write(tmp_path, [5]))
    data.load_state_dict(data.state_after(plain(data), 1))
    with pytest.raises(recpack.ConfigError, match="the state is of 2 workers"):
        iter(data)
    larger: Any = DataLoader(data, batch_size=3, num_workers=2)
    with pytest.raises(recpack.ConfigError, match="2 workers and batch_size=2"):
        data.state_after(larger, 1)
    loader: Any = DataLoader(data, batch_size=None)
    with pytest.raises(recpack.ConfigError, match="batch_size"):
        data.state_after(loader, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 1}, "give both"),
        ({"rank": 2, "world_size": 2}, "rank: must be 0 or more, and less than 2"),
        ({"tail": "some"}, "tail: must be one of keep, drop, pad"),
        ({"buffer_size": 0}, "buffer_size: must be 1 or more"),
        ({"seed": -1}, "seed: must be 0 to"),
        ({"decode": "pillow"}, "decode: must be opencv, torchvision"),
        ({"seed": "x"}, r"seed: must be a whole number \(got 'x'\)"),
        ({"buffer_size": 1.5}, r"buffer_size: must be a whole number \(got 1.5\)"),
        ({"buffer_size": -1}, "buffer_size: must be 1 or more"),
        ({"mapped": "no"}, r"mapped: must be True or False \(got 'no'\)"),
        ({"shuffle": 1}, "shuffle: must be True or False"),
        ({"rank": "0", "world_size": 1}, "rank: must be a whole number or None"),
        ({"label_offset": None}, "label_offset: must be a whole number"),
        ({"targets": 3}, "targets: must be tensors"),
        ({"targets": []}, "targets: must be tensors"),
        ({"transform": "flip"}, "transform: must be a function"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(recpack.ConfigError, match=message):
        dataset(tmp_path / "none.rec", **options)


@pytest.mark.parametrize("epoch", [-1, 1.5, 1 << 33, None, "2"])
def test_an_epoch_that_is_none(tmp_path: Path, epoch: Any) -> None:
    with pytest.raises(recpack.ConfigError, match=r"epoch: must be a whole number from 0 \(got "):
        dataset(write(tmp_path, [1])).set_epoch(epoch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": [-1]}, r"samples: must be a whole number from 0 \(got -1\)"),
        ({"samples": [1.5]}, "samples: must be a whole number"),
        ({"samples": []}, "this is none of state_dict"),
        ({"samples": "1"}, "this is none of state_dict"),
        ({"epoch": 1.5}, "epoch: must be a whole number"),
        ({"first_worker": None}, "first_worker: must be a whole number"),
        ({"first_worker": 3}, "first_worker: 3 then, 0 now"),
    ],
)
def test_a_state_that_is_none(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    data = dataset(write(tmp_path, [5]))
    with pytest.raises(recpack.ConfigError, match=message):
        data.load_state_dict(data.state_dict() | change)
    others: list[Any] = [{}, None, [1]]
    for other in others:
        with pytest.raises(recpack.ConfigError, match="this is none of state_dict"):
            data.load_state_dict(other)
