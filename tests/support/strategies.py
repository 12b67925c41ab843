"""Hypothesis strategies for the domain."""

from __future__ import annotations

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
