"""The archives of Pascal VOC: resumed where they were cut, proven by their digests."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from recpack.errors import ConfigError, DataError, SinkError
from recpack.options import DownloadSettings
from recpack.progress import Progress
from recpack.settings import takes
from recpack.storage.files import PARTIAL

ORIGIN = "http://host.robots.ox.ac.uk/pascal/VOC/"
TERMS = (
    "Pascal VOC's photographs come from flickr and are its users': whoever uses them is bound by "
    f"flickr's terms of use. The challenges' own terms: {ORIGIN}"
)

_BLOCK = 1 << 20
_ATTEMPTS = 6
"""In a row without a single byte, before it is given up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0


class Archive(NamedTuple):
    """A file of the origin: its folder there, its name, its MD5."""

    folder: str
    name: str
    md5: str


ARCHIVES = {
    "voc2007": Archive(
        "voc2007/", "VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"
    ),
    "voc2007-test": Archive(
        "voc2007/", "VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"
    ),
    "voc2012": Archive(
        "voc2012/", "VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"
    ),
}


@takes(DownloadSettings)
def download(
    names: Sequence[str], folder: str | os.PathLike[str], settings: DownloadSettings
) -> list[Path]:
    """Fetch archives by name (``voc2007``, ``voc2007-test``, ``voc2012``) into a folder.

    What an interrupted download left is continued; what is there already and whole is left alone.
    ``mirror`` is the URL of a folder that holds the archives, laid out as the origin's or flat;
    ``timeout`` seconds without a byte end a connection, and the next one goes on from there.
    Returns the files. Raises ConfigError for unknown names, DataError when the source fails or
    serves another file, SinkError when the folder can't be written.
    """
    unknown = [name for name in names if name not in ARCHIVES]
    if unknown or not names:
        what = ", ".join(unknown) or "nothing"
        raise ConfigError(f"{what} is none of {', '.join(ARCHIVES)}")
    if settings.mirror is not None and not re.match(r"https?://[^/]", settings.mirror):
        raise ConfigError(f"mirror: {settings.mirror!r}; write http(s)://host/folder")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [
            _Download(ARCHIVES[name], Path(folder), settings).run() for name in dict.fromkeys(names)
        ]
    except OSError as error:
        raise SinkError(f"{folder}: can't be written: {error.strerror or error}") from error


class _Interrupted(Exception):
    """The connection ended early; the next one may get further."""


class _Download:
    """One archive on its way."""

    def __init__(self, archive: Archive, folder: Path, settings: DownloadSettings) -> None:
        self._archive = archive
        self._target = folder / archive.name
        self._partial = folder / (archive.name + PARTIAL)
        base = (settings.mirror or ORIGIN).rstrip("/") + "/"
        self._urls = [base + archive.folder + archive.name]
        if settings.mirror is not None:
            self._urls.append(base + archive.name)
        self._progress = settings.progress
        self._timeout = settings.timeout

    def run(self) -> Path:
        if self._target.exists():
            if self._digest(self._target) != self._archive.md5:
                raise DataError(
                    f"{self._target} is there already, with other bytes; remove it, or name "
                    "another folder"
                )
            return self._target
        resumed = self._partial.exists()
        self._fetch()
        found = self._digest(self._partial)
        if found != self._archive.md5 and resumed:
            # an older version may have been continued by a newer one
            self._partial.unlink()
            self._fetch()
            found = self._digest(self._partial)
        if found != self._archive.md5:
            self._partial.unlink()
            raise DataError(
                f"{self._urls[0]}: its MD5 is {found}, that of {self._archive.name} "
                f"{self._archive.md5}: another file is served there; take another --mirror"
            )
        os.replace(self._partial, self._target)
        return self._target

    def _fetch(self) -> None:
        """Fetch all of it, in as many connections as that takes."""
        pause = _FIRST_PAUSE
        fruitless = 0
        while True:
            before = self._size()
            try:
                self._continue()
                return
            except (_Interrupted, urllib.error.URLError, http.client.HTTPException, OSError) as why:
                if isinstance(why, OSError) and _is_of_the_disk(why):
                    raise
                if isinstance(why, urllib.error.HTTPError):
                    self._complain(why)
                fruitless = 0 if self._size() > before else fruitless + 1
                if fruitless == _ATTEMPTS:
                    reason = why.reason if type(why) is urllib.error.URLError else why
                    raise DataError(
                        f"{self._urls[0]}: {reason}; try again later, which continues, or name "
                        "another source with --mirror"
                    ) from why
                if not fruitless:
                    pause = _FIRST_PAUSE
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _complain(self, error: urllib.error.HTTPError) -> None:
        """Raise for an answer that will not change; try the next place for one that is missing."""
        error.close()
        if error.code == 404 and len(self._urls) > 1:
            self._urls.pop(0)
        elif error.code < 500 and error.code not in (408, 429):
            raise DataError(
                f"{self._urls[0]}: {error.code} {error.reason}; name another source with --mirror"
            ) from error

    def _continue(self) -> None:
        """One connection: from where the file ends now to the archive's end."""
        start = self._size()
        request = urllib.request.Request(self._urls[0])
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            answer = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416 and start:  # all of it is there, or it is of another file
                error.close()
                return
            raise
        with answer:
            begin, total = _span(answer)
            with self._partial.open("r+b" if start else "wb") as file:
                file.truncate(begin if begin <= start else 0)
                file.seek(0, os.SEEK_END)
                if file.tell() != begin:
                    raise _Interrupted("the source went on somewhere else")
                self._receive(answer, file, total)

    def _receive(
        self, answer: http.client.HTTPResponse, file: IO[bytes], total: int | None
    ) -> None:
        while block := answer.read1(_BLOCK):
            file.write(block)
            if self._progress is not None:
                done = file.tell()
                self._progress(Progress(self._archive.name, done, total or done, done, "bytes"))
        if total is not None and file.tell() < total:
            raise _Interrupted(f"the connection ended after {file.tell():,} of {total:,} bytes")

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    @staticmethod
    def _digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _span(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where the bytes of an answer begin in the file, and how many that has."""
    if answer.status == 206:
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        if found is None:
            raise _Interrupted("the source does not say which bytes it sends")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _is_of_the_disk(error: OSError) -> bool:
    """Whether it is about a file, not a connection."""
    if isinstance(error, urllib.error.URLError):
        return False
    full = (errno.EFBIG, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
    return error.filename is not None or error.errno in full
