from __future__ import annotations

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpack.formats import word_search as words
from recpack.formats.recordio import MAGIC_BYTES
from recpack.formats.word_search import find_words

piece = st.one_of(st.just(MAGIC_BYTES), st.binary(max_size=9), st.sampled_from([b"\x0a", b"\xce"]))


@given(st.lists(piece).map(b"".join), st.integers(0, 12), st.booleans(), st.booleans())
def test_all_aligned_words_are_found(data: bytes, start: int, mapped: bool, by_c: bool) -> None:
    memory: mmap.mmap | bytearray
    memory = mmap.mmap(-1, len(data) + 13) if mapped else bytearray(len(data) + 13)
    memory[start : start + len(data)] = data
    search = words._search if by_c else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_search", search)
        found = find_words(memory, MAGIC_BYTES, start, len(data))
    places = range(0, len(data) - 3, 4)
    assert found == [at for at in places if data[at : at + 4] == MAGIC_BYTES]
    memory[0:0] = b""  # nothing is left that looks at the memory
    if isinstance(memory, mmap.mmap):
        memory.close()


def test_a_c_library_without_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    assert words._c_search() is not None
    monkeypatch.setattr("ctypes.sizeof", lambda _: 2)
    assert words._c_search() is None
