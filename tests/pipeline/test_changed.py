"""An image that is another one when it is packed than when it was checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import parse_location
from recpack.storage.s3.objects import put
from recpack.storage.trees.local import LocalTree, _keeps_inodes
from recpack.storage.trees.s3 import S3Tree
from tests.pipeline.test_convert import CAT, small
from tests.support.s3server import S3Server


def put_other(path: Path) -> None:
    """Another image of the same size, with another inode; the time of its last change too."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def write_over(path: Path) -> None:
    """The same inode, other bytes of the same size."""
    status = path.stat()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def put_link(path: Path) -> None:
    """A link to a file elsewhere, of the same size."""
    secret = path.parent.parent.parent / "secret"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(secret)


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("output", ["a.rec", "images/"])
@pytest.mark.parametrize("resize", [0, 20])
@pytest.mark.parametrize("change", [put_other, write_over, put_link, put_pipe])
def test_an_image_that_is_another_when_it_is_packed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    resize: int,
    output: str,
) -> None:
    devkit = small(tmp_path / "d", CAT)
    options: dict[str, Any] = {"jobs": 1, "resize": resize, "backend": "threading"}
    opened = LocalTree.folder

    def folder(self: LocalTree, path: str, *, proven: bool = False) -> Any:
        image = devkit / "JPEGImages/1.jpg"
        if proven and not image.with_name("done").exists():  # between the two passes
            change(image)
            image.with_name("done").touch()
        return opened(self, path, proven=proven)

    monkeypatch.setattr(LocalTree, "folder", folder)
    with pytest.raises(recpack.DataError, match="the image changed after it was checked") as caught:
        recpack.convert(devkit, f"{tmp_path}/out/{output}", **options)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == ("image-changed", "JPEGImages/1.jpg")
    assert "Run again when nothing writes into the data set" in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.*"))


def test_a_list_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devkit = small(tmp_path / "d", CAT)
    recpack.write_list(devkit, tmp_path / "a.lst")
    opened = LocalTree.folder

    def folder(self: LocalTree, path: str, *, proven: bool = False) -> Any:
        if proven:
            put_other(devkit / "JPEGImages/1.jpg")
        return opened(self, path, proven=proven)

    monkeypatch.setattr(LocalTree, "folder", folder)
    with pytest.raises(recpack.DataError, match="image-changed"):
        recpack.pack(tmp_path / "a.lst", devkit, tmp_path / "a.rec", jobs=1, backend="threading")


def test_an_object_is_known_by_its_etag(hostile: S3Server) -> None:
    s3 = S3Client(hostile.url)
    place = parse_location("s3://bucket/in/x.jpg")
    identities = []
    for data in (b"a" * 300_000, b"a" * 300_000, b"b" * 300_000):
        put(s3, place, data)
        hostile.calls.clear()
        folder = S3Tree(parse_location("s3://bucket/in"), s3).folder(".")
        with folder, folder.open("x.jpg") as file:
            identities.append(file.identity)
        assert dict(hostile.calls) == {"get_object": 2}  # the head and the tail, as ever
    assert identities[0] == identities[1] != identities[2]
    assert 0 not in identities


@pytest.mark.parametrize(("kind", "keeps"), [("ext4", True), ("fuse.s3fs", False), ("", True)])
def test_fuse_can_give_a_file_another_inode(tmp_path: Path, kind: str, keeps: bool) -> None:
    mounts = tmp_path / "mountinfo"
    if kind:
        mounts.write_text(f"1 0 8:1 / / rw - xfs /dev/a rw\n2 1 8:2 / /m rw - {kind} x rw\n")
    assert _keeps_inodes(os.makedev(8, 2), str(mounts)) == keeps
    assert _keeps_inodes(tmp_path.stat().st_dev)
