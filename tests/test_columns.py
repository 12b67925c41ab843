from __future__ import annotations

import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recpack import columns as texts
from recpack.columns import StringColumn

name = st.one_of(
    st.text(st.sampled_from("ab.9_"), max_size=5),
    st.text(max_size=4).map(lambda text: os.fsdecode(text.encode("utf-8", "ignore"))),
    st.binary(max_size=3).map(os.fsdecode),  # no encoding's bytes
)


@given(st.lists(name, max_size=12), st.sampled_from([1, 3, 2048]), st.data())
def test_texts_are_the_list_that_they_were_made_of(
    names: list[str], block: int, data: st.DataObject
) -> None:
    before, texts._BLOCK = texts._BLOCK, block
    try:
        made = StringColumn(iter(names))
        assert list(made) == names
        assert [made[i] for i in range(len(names))] == names
        assert made.blob == b"".join(map(os.fsencode, names))
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(names))] * 2)))
        assert list(made[start:stop]) == names[start:stop]
        order = data.draw(st.permutations(range(len(names))))
        assert list(made.take(np.array(order, np.int64))) == [names[i] for i in order]
        assert list(StringColumn.join([made[:start], made[start:]])) == names
    finally:
        texts._BLOCK = before
