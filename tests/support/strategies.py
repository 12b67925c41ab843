"""Hypothesis strategies for the domain."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from tests.support.devkits import MAGIC

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)

# pieces that put magic words, and almost-magic words, on every alignment
payload_bytes = st.lists(
    st.one_of(
        st.just(MAGIC),
        st.binary(max_size=9),
        st.sampled_from([MAGIC[:1], MAGIC[:2], MAGIC[:3], MAGIC[1:], MAGIC * 2]),
    ),
    max_size=12,
).map(b"".join)

magic_float = __import__("struct").unpack("<f", MAGIC)[0]

labels = st.lists(st.one_of(float32, st.just(magic_float)), min_size=1, max_size=20)

ids = st.one_of(
    st.integers(0, 2**63 - 1), st.sampled_from([0, 0xCED7230A, 0xCED7230A << 32, 2**32])
)

records = st.lists(st.tuples(labels, payload_bytes), min_size=1, max_size=8)

file_counts = st.lists(st.integers(0, 9), min_size=1, max_size=5)
"""Samples in each of some files."""


class Division(NamedTuple):
    """How an epoch is read: by so many ranks, each with so many workers (0: by itself), in batches;
    ``kills``: it is killed after so many batches, and goes on."""

    world_size: int
    workers: int
    batch_size: int
    kills: list[int]


divisions = st.builds(
    Division,
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 5),
    st.lists(st.integers(0, 4), max_size=3),
)
