from __future__ import annotations

import os
from collections.abc import Iterable
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recpack.columns import StringColumn
from recpack.sources.voc import dataset as voc
from recpack.sources.voc.layout import ImageSet
from recpack.storage.trees.base import Tree


class Names:
    """A tree with one folder of these names."""

    def __init__(self, names: list[str]) -> None:
        self._names = sorted(names)

    def files(self, path: str) -> list[str]:
        assert path == "images"
        return self._names

    def only(self, paths: Iterable[str]) -> Names:
        del paths
        return self


def meant(id_: str, names: list[str]) -> list[str]:
    """The images that an id may mean, the slow way."""
    found = [name for name in names if os.path.splitext(name)[0] == id_]
    return found or [name for name in names if os.path.splitext(name)[0].lower() == id_.lower()]


stem = st.text(st.sampled_from("aAb.-/0~"), min_size=1, max_size=4).filter(
    lambda text: not text.startswith((".", "/")) and "/" not in text and text.strip(".")
)


@given(
    st.sets(st.tuples(stem, st.sampled_from([".jpg", ".JPG", ".png", ".txt", ""])), max_size=12),
    st.lists(stem, min_size=1, max_size=9),
    st.sampled_from([1, 3, 512]),
)
@example({("a", ".bmp"), ("a", ".jpg"), ("a.j", ".jpg")}, ["a", "a.j"], 2)
@example({("a", ".jpg"), ("a", ".png")}, ["a", "a"], 512)
def test_every_id_finds_its_images(files: set[tuple[str, str]], ids: list[str], chunk: int) -> None:
    names = sorted({name + extension for name, extension in files})
    images = [
        name for name in names if os.path.splitext(name)[1].lower() in (".jpg", ".png", ".bmp")
    ]
    tree = cast(Tree, Names(names))
    for order in (ids, sorted(ids)):
        image_set = ImageSet("x", "annotations", "images", StringColumn(order))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("recpack.sources.base.CHUNK", chunk)
            patch.setattr(voc, "_MAX_WINDOW", 4)
            tasks = list(voc._tasks(tree, image_set, 0))
        assert [list(task.ids) for task in tasks] == [
            order[start : start + chunk] for start in range(0, len(order), chunk)
        ]
        found = [
            names for task in tasks for names in voc._names_of(list(task.ids), task.candidates)
        ]
        assert [sorted(names) for names in found] == [sorted(meant(id_, images)) for id_ in order]
