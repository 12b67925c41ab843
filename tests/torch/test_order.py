"""Ranges of ranks and workers, blocks, and the buffer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.torch import order
from recpack.torch.order import Blocks, Share, mix, range_of_rank, range_of_worker, split
from tests.support import strategies


@given(st.integers(0, 50), st.integers(1, 9))
def test_a_split_is_even_and_the_longer_ranges_come_first(count: int, parts: int) -> None:
    ranges = [split(count, parts, part) for part in range(parts)]
    assert [place for one in ranges for place in one] == list(range(count))
    lengths = [len(one) for one in ranges]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 4))
def test_the_tail_makes_ranks_equal(count: int, world_size: int, workers: int) -> None:
    for tail, each in (("drop", count // world_size), ("pad", -(-count // world_size))):
        shares = [Share(rank, world_size) for rank in range(world_size)]
        ranges = [range_of_rank(count, share, tail) for share in shares]
        assert [len(one) for one in ranges] == [each] * world_size
        assert [place for one in ranges for place in one] == list(range(each * world_size))
        for share, ours in zip(shares, ranges, strict=True):
            parts = [Share(share.rank, world_size, worker, workers) for worker in range(workers)]
            theirs = [place for part in parts for place in range_of_worker(count, part, tail)]
            assert theirs == list(ours)


@given(strategies.file_counts, st.sampled_from([1, 50, 1 << 40]), st.data())
def test_blocks_are_of_one_file_each_and_all_samples_once(
    counts: list[int], block_bytes: int, data: st.DataObject
) -> None:
    total = sum(counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "_BLOCK_BYTES", block_bytes)
        sizes = [10 * count for count in counts]
        plain = Blocks(counts, sizes, 3, 0, shuffle=False)
        assert plain[range(total)].tolist() == list(range(total))
        for epoch in (0, 1):
            blocks = Blocks(counts, sizes, 3, epoch, shuffle=True)
            whole = blocks[range(total)]
            assert sorted(whole.tolist()) == list(range(total))
            start = data.draw(st.integers(0, total))
            stop = data.draw(st.integers(start, total))
            assert blocks[range(start, stop)].tolist() == whole[start:stop].tolist()
            if total:  # padded ranks begin again
                around = blocks[range(start, start + 2 * total)].tolist()
                assert around == np.roll(np.tile(whole, 2), -start).tolist()
            # within a block samples are in order; a file of n bytes has n / block bytes of them
            breaks = int((np.diff(whole) != 1).sum()) if total else 0
            assert breaks <= sum(
                min(-(-size // block_bytes), count)
                for size, count in zip(sizes, counts, strict=True)
            )


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 5))
def test_a_buffer_gives_each_sample_once_and_holds_no_more_than_it_may(
    count: int, buffer_size: int, seed: int
) -> None:
    places = mix(count, buffer_size, [seed, 1])
    assert sorted(places.tolist()) == list(range(count))
    assert (places - np.arange(count) < buffer_size).all()
    assert (mix(count, buffer_size, [seed, 1]) == places).all()
    if buffer_size == 1:
        assert places.tolist() == list(range(count))


def test_the_orders_of_a_seed_are_these_for_ever() -> None:
    """A state that was saved must fit the next version of recpack and of NumPy."""
    assert mix(12, 4, [7, 1, 0, 2, 1, 3]).tolist() == [2, 3, 5, 1, 6, 7, 8, 0, 4, 9, 10, 11]
    blocks = Blocks([2] * 8, [5] * 8, 7, 1, shuffle=True)
    assert blocks[range(16)][::2].tolist() == [12, 14, 4, 6, 10, 0, 2, 8]


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(Blocks([1] * 20, [5] * 20, seed, epoch, shuffle=True)[range(20)].tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_a_buffer_of_a_thousand_mixes_far() -> None:
    """A sample moves by its size, on average, so neighbours do not meet again."""
    moved = np.abs(mix(20_000, 1000, [0]) - np.arange(20_000))
    assert 400 < moved.mean() < 1500
