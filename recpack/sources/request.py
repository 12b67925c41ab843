"""What the user wants of a data set, the same for every format."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from recpack.display import did_you_mean
from recpack.errors import ConfigError, DataError
from recpack.sources.base import Dataset
from recpack.sources.recognise import refuse_folder
from recpack.sources.selection import EVERY, Selection
from recpack.storage.paths import unsafe_path
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import is_s3
from recpack.storage.trees.base import Tree
from recpack.storage.trees.open import Root, open_tree

if TYPE_CHECKING:
    from recpack.sources.document import Images

Value = TypeVar("Value")


@dataclass(frozen=True)
class Request:
    """``selection`` of the user; ``class_names`` for a data set that has none. ``unread`` gets the
    image sets that are not chosen; see ``Dataset``."""

    selection: Selection
    s3: S3Client
    class_names: tuple[str, ...] = ()
    unread: dict[str, Callable[[], int | None]] = field(default_factory=dict)

    def choose_sets(
        self,
        root: Tree,
        format: str,
        sets: Mapping[str, Value],
        count: Callable[[Value], int | None],
    ) -> dict[str, Value]:
        """The image sets of ``selection``, or the default. ``count`` counts the images of one.
        Raises DataError for no such set."""
        names = list(self.selection.sets)
        if names == [EVERY] and EVERY not in sets:
            names = list(sets)
        available = ", ".join(sets)
        if not sets:
            refuse_folder(root)
            raise DataError(f"{root}: there are no {format} annotations; check the path and --from")
        missing = [name for name in names if name not in sets]
        if missing:
            raise DataError(
                f"{root}: no image set {missing[0]}; choose with --set from: "
                f"{available} (or {EVERY}){did_you_mean(missing[0], sets)}"
            )
        if not names:
            training = [name for name in sets if name.lower().startswith("train")]
            names = list(sets) if len(sets) == 1 else training
            if len(names) != 1:
                raise ConfigError(
                    f"set: {root} has the image sets {available}; choose with --set; "
                    f"--set {EVERY} takes each"
                )
        self.unread.update({name: partial(count, sets[name]) for name in sets if name not in names})
        return {name: sets[name] for name in names}

    @property
    def lenient(self) -> bool:
        """Whether a set whose folder is missing is left out, with a problem: nobody named it."""
        return self.selection.sets == (EVERY,)

    def open_tree(self, path: Root) -> Tree:
        """Open a folder or archives; see ``trees.open.open_tree``."""
        return open_tree(path, self.s3, follow_links=self.selection.follow_links)

    def images(self, root: Tree) -> Images:
        """Where the images are. The path of ``--images`` is below the root, else below the working
        directory."""
        from recpack.sources.document import Images

        if self.selection.images is None:
            return Images(root)
        images = os.fspath(self.selection.images).rstrip("/")
        if not (unsafe_path(images) or is_s3(images)) and root.is_folder(images):
            return Images(root.naming(images), images)
        return Images(self.open_tree(images), ".")


class Format(Protocol):
    """The interface of a format's module. ``ENDINGS``: extensions of a file that is a data set."""

    ENDINGS: tuple[str, ...]

    def is_here(self, root: Tree, selection: Selection) -> bool:
        """Whether a folder looks like this format."""

    def open_folder(self, root: Tree, request: Request) -> Dataset:
        """Open the data set of a folder or archives."""

    def open_file(self, path: str, request: Request) -> Dataset:
        """Open the data set of one file."""
