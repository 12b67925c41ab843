"""Finds images whose paths were written on another machine: by the longest end of the path that
names one file of the data set. Only paths that do not exist as written are looked up here."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from itertools import takewhile
from unicodedata import normalize
from urllib.parse import unquote

from recpack.columns import StringColumn
from recpack.problems import CATALOGUE, Problem
from recpack.storage.paths import unsafe_path
from recpack.storage.trees.base import Tree

_MARKS = ("\\", ":/", "?", "\n/", "../")
_LOCAL_FILES = re.compile(r".*[?&]d=")
"""Label Studio's link to a file on its server: ``/data/local-files/?d=folder/x.jpg``."""
_SCHEME = re.compile(r"(?:^|/)[A-Za-z][A-Za-z0-9+.-]+:/")
"""``https://…``, also below a folder and with one slash, as ``posixpath.normpath`` leaves it."""
_AFTER_SLASH = chr(ord("/") + 1)
_SHOWN = 3


def mendable(problem: Problem) -> bool:
    """Whether another spelling of a path can solve it. (A link out of the data set is there.)"""
    if problem.code == "path-unsafe":
        return unsafe_path(problem.value)
    return problem.code in ("image-missing", "annotation-missing")


def foreign(paths: Iterable[str]) -> bool:
    """Whether one of the paths looks like one of another machine. It is fast for many paths."""
    text = "\n" + "\n".join(paths)
    return any(mark in text for mark in _MARKS)


def is_link(path: str) -> bool:
    """Whether it is a URL, or a link to a file of Label Studio's server."""
    return bool(_SCHEME.search(path) or _LOCAL_FILES.match(path))


def parts_of(path: str) -> list[str]:
    """The names in a path of any system, or in a URL, in one Unicode normalisation."""
    path = _LOCAL_FILES.sub("", path.replace("\\", "/"))
    if _SCHEME.search(path):
        path = re.split(r"[?#]", path, maxsplit=1)[0]
    return [part for part in normalize("NFC", path).split("/") if part not in ("", ".", "..")]


class Tails:
    """The files below a folder of a tree, by the ends of their paths; listed once, when they are
    needed. ``listed`` gives all paths that the data set names: a file that two of them could mean
    belongs to neither."""

    def __init__(
        self, root: Tree, folder: str = ".", listed: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._root, self._folder, self._listed = root, folder, listed

    def find(self, path: str) -> list[str]:
        """The files that share the longest end with a path; empty when none has its name. Case
        counts where one has it."""
        written = {path, unquote(path)}
        exact = max(self._find(one, self._index) for one in written)[1]
        return exact or max(self._find(one.lower(), self._folded) for one in written)[1]

    def settle(self, wanted: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
        """Look up paths, by the names of their annotations in problems. Returns what was found,
        with notes, and an error for each path that could mean several files."""
        settled: dict[str, str] = {}
        problems = []
        for file, path in wanted.items():
            found = self.find(path)
            if not found or found == [path] or self._just_missing(path, found):
                continue
            claims = self._claims[found[0]] - {path} if len(found) == 1 else set()
            if len(found) > 1 or claims:
                value = ", ".join([*found[:_SHOWN], *(["…"] if len(found) > _SHOWN else [])])
                value += f", which is also that of {min(claims)}" if claims else ""
                problems.append(_problem("path-ambiguous", file, path, value))
                continue
            settled[file] = found[0]
            if parts_of(path) != parts_of(found[0]):
                problems.append(path_resolved(file, path, found[0]))
        return settled, problems

    def _just_missing(self, path: str, found: list[str]) -> bool:
        """Whether a path's folder is there without such a file: one elsewhere is another image."""
        parts = parts_of(path)
        differs = parts_of(found[0].lower()) != parts_of(path.lower())
        return "/".join(parts[:-1]) in self._folders and differs

    def _find(self, path: str, index: tuple[StringColumn, StringColumn]) -> tuple[int, list[str]]:
        """The number of names in the longest shared end, and the files that share it."""
        keys, paths = index
        parts = parts_of(path)[::-1]
        key = "/".join(parts) + "/"
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            return len(parts) + 1, list(paths[at : bisect_right(keys, key)])
        # of all keys, a neighbour in the order has the longest beginning in common
        shared = max(
            (_shared(keys[i], parts) for i in (at - 1, at) if 0 <= i < len(keys)), default=0
        )
        if not shared:
            return 0, []
        beginning = "/".join(parts[:shared])
        first = bisect_left(keys, beginning + "/")
        return shared, list(paths[first : bisect_left(keys, beginning + _AFTER_SLASH)])

    @cached_property
    def _index(self) -> tuple[StringColumn, StringColumn]:
        """Each file's path from its end, sorted, and the paths in this order."""
        return _by_end((path, path) for path in self._root.walk(self._folder))

    @cached_property
    def _folded(self) -> tuple[StringColumn, StringColumn]:
        """The same without case."""
        return _by_end((path.lower(), path) for path in self._index[1])

    @cached_property
    def _folders(self) -> set[str]:
        """The folders of the files, without the one that is searched."""
        _, paths = self._index
        top = "" if self._folder == "." else self._folder
        return {normalize("NFC", path.rpartition("/")[0]) for path in paths} - {top}

    @cached_property
    def _claims(self) -> Mapping[str, set[str]]:
        """Each file that is the only one for a path of the data set: these paths."""
        claims: Mapping[str, set[str]] = defaultdict(set)
        for path in self._listed():
            found = self.find(path)
            if len(found) == 1:
                claims[found[0]].add(path)
        return claims


def _by_end(paths: Iterable[tuple[str, str]]) -> tuple[StringColumn, StringColumn]:
    rows = sorted(("/".join(parts_of(key)[::-1]) + "/", path) for key, path in paths)
    return StringColumn(key for key, _ in rows), StringColumn(path for _, path in rows)


def _shared(key: str, parts: list[str]) -> int:
    pairs = zip(key.split("/"), parts, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def path_resolved(file: str, path: str, found: str) -> Problem:
    """The note that the image of ``file`` is not at its ``path``, but was ``found``."""
    return _problem("path-resolved", file, path, found)


def _problem(code: str, file: str, path: str, value: str) -> Problem:
    severity = CATALOGUE[code].severity
    return Problem(
        code, severity, file, "error" if severity == "error" else "kept", value=f"{path}: {value}"
    )
