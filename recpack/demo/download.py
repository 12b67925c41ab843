"""Download the archives of Pascal VOC: continue a partial download, verify its MD5."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from recpack.display import did_you_mean, hide_secrets
from recpack.errors import ConfigError, DataError, SinkError
from recpack.options import DownloadSettings
from recpack.progress import Progress
from recpack.settings import takes
from recpack.storage.files import Claim, sync_folder
from recpack.storage.paths import local_path
from recpack.storage.regular import open_regular

ORIGIN = "http://host.robots.ox.ac.uk/pascal/VOC/"
TERMS = (
    "Pascal VOC's photographs come from flickr and belong to its users: flickr's terms of use "
    f"apply to you. The terms of the challenges: {ORIGIN}"
)

_BLOCK = 1 << 20
_ATTEMPTS = 6
"""Failed attempts in a row, without a single byte, that end the download."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0


class Archive(NamedTuple):
    """A file of the origin: its folder, its name, its MD5."""

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


def demand_known(names: Sequence[str]) -> None:
    """Raise ConfigError for names of no archives."""
    unknown = [name for name in names if name not in ARCHIVES]
    if unknown or not names:
        got = ", ".join(unknown) or "nothing"
        raise ConfigError(
            f"names: must be from {', '.join(ARCHIVES)} (got {got}){did_you_mean(got, ARCHIVES)}"
        )


@takes(DownloadSettings)
def download(
    names: str | Sequence[str], folder: str | os.PathLike[str], settings: DownloadSettings
) -> list[Path]:
    """Download archives by their names (``voc2007``, ``voc2007-test``, ``voc2012``) into a folder.

    It continues an interrupted download and keeps complete files. ``mirror`` is the URL of a folder
    that holds the archives, with or without the origin's subfolders. ``timeout`` seconds without a
    byte end a connection; the next one continues from there. Returns the files. Raises ConfigError
    for unknown names, DataError when the source fails or serves another file, SinkError when the
    folder can't be written.
    """
    place = local_path(folder, "folder")
    names = [names] if isinstance(names, str) else names
    demand_known(names)
    if settings.mirror is not None and not re.match(r"https?://[^/@]+(/|$)", settings.mirror):
        got = hide_secrets(repr(settings.mirror))
        raise ConfigError(f"mirror: must be http(s)://host/folder, without a password (got {got})")
    try:
        place.mkdir(parents=True, exist_ok=True)
        return [_download(ARCHIVES[name], place, settings) for name in dict.fromkeys(names)]
    except OSError as error:
        raise SinkError(f"{folder}: can't be written: {error.strerror or error}") from error


def _download(archive: Archive, folder: Path, settings: DownloadSettings) -> Path:
    with Claim(folder / archive.name) as claim:
        return _Download(archive, claim, settings).run()


class _Interrupted(Exception):
    """The connection ended early; the next one can get further."""


class _Download:
    """The download of one archive."""

    def __init__(self, archive: Archive, claim: Claim, settings: DownloadSettings) -> None:
        self._archive, self._claim = archive, claim
        self._path, self._partial = claim.path, claim.temporary()
        base = (settings.mirror or ORIGIN).rstrip("/") + "/"
        self._urls = [base + archive.folder + archive.name]
        if settings.mirror is not None:
            self._urls.append(base + archive.name)
        self._progress = settings.watch
        self._timeout = settings.timeout

    def run(self) -> Path:
        if self._path.exists():
            if self._digest(self._path) != self._archive.md5:
                raise DataError(
                    f"{self._path} exists and has another MD5; remove it, or name another folder"
                )
            return self._path
        continues = self._adopt()
        self._fetch()
        md5 = self._digest(self._partial)
        if md5 != self._archive.md5 and continues:
            # perhaps the source has changed since the first part
            self._partial.unlink()
            self._fetch()
            md5 = self._digest(self._partial)
        if md5 != self._archive.md5:
            self._partial.unlink()
            raise DataError(
                f"{self._urls[0]}: its MD5 is {md5}, but {self._archive.name} has "
                f"{self._archive.md5}: this is another file; use another --mirror"
            )
        with self._open() as file:
            os.fsync(file.fileno())
        os.replace(self._partial, self._path)
        self._claim.clear()
        with suppress(OSError):  # the archive is whole under its name
            sync_folder(self._path.parent)
        return self._path

    def _adopt(self) -> bool:
        """Begin with the longest file that an earlier run left, if it is a file of our own."""
        sizes = {}
        for path in self._claim.unfinished():
            found = os.lstat(path)
            if (stat.S_ISREG(found.st_mode), found.st_uid, found.st_nlink) == (
                True, os.geteuid(), 1,
            ):  # fmt: skip
                sizes[path] = found.st_size
        if sizes:
            os.rename(max(sizes, key=sizes.__getitem__), self._partial)
        return bool(sizes)

    def _open(self) -> BinaryIO:
        creation = 0 if self._partial.exists() else os.O_CREAT | os.O_EXCL
        descriptor = os.open(self._partial, os.O_RDWR | os.O_NOFOLLOW | creation, 0o666)
        return os.fdopen(descriptor, "r+b")

    def _fetch(self) -> None:
        """Fetch the whole archive, in as many connections as needed."""
        pause = _FIRST_PAUSE
        fruitless = 0
        while True:
            before = self._size()
            try:
                self._continue()
                return
            except (_Interrupted, urllib.error.URLError, http.client.HTTPException, OSError) as why:
                if isinstance(why, OSError) and _is_disk_error(why):
                    raise
                if isinstance(why, urllib.error.HTTPError):
                    self._handle_status(why)
                fruitless = 0 if self._size() > before else fruitless + 1
                if fruitless == _ATTEMPTS:
                    reason = why.reason if type(why) is urllib.error.URLError else why
                    raise DataError(
                        f"{self._urls[0]}: {reason}; run again later to continue, or name "
                        "another source with --mirror"
                    ) from why
                if not fruitless:
                    pause = _FIRST_PAUSE
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _handle_status(self, error: urllib.error.HTTPError) -> None:
        """Raise for an answer that will not change; for a missing file, go to the next URL."""
        error.close()
        if error.code == 404 and len(self._urls) > 1:
            self._urls.pop(0)
        elif error.code < 500 and error.code not in (408, 429):
            raise DataError(
                f"{self._urls[0]}: {error.code} {error.reason}; name another source with --mirror"
            ) from error

    def _continue(self) -> None:
        """One connection: from the end of the partial file to the end of the archive."""
        start = self._size()
        request = urllib.request.Request(self._urls[0])
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            answer = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416 and start:  # the file is complete, or another one
                error.close()
                return
            raise
        with answer:
            begin, total = _span(answer)
            with self._open() as file:
                file.truncate(begin if begin <= start else 0)
                file.seek(0, os.SEEK_END)
                if file.tell() != begin:
                    raise _Interrupted("the source continued at another position")
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
        with open(open_regular(path), "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _span(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """The position of the answer's bytes in the file, and the file's size."""
    if answer.status == 206:
        match = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        if match is None:
            raise _Interrupted("the source does not say which bytes it sends")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _is_disk_error(error: OSError) -> bool:
    """Whether an error comes from a file, not from a connection."""
    if isinstance(error, urllib.error.URLError):
        return False
    full = (errno.EFBIG, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
    return error.filename is not None or error.errno in full
