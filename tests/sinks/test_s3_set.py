"""A set of shards on S3 is the old one or the new one, whole, wherever its run ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest

import recpack
from recpack.sinks.s3_set import S3SetSink, _Shard
from recpack.storage.s3.client import S3Client
from tests.cli.test_cli import run
from tests.sinks.test_file_set import make_list
from tests.sinks.test_s3_sink import photographs
from tests.support.devkits import box_xml, xml
from tests.support.s3server import Blob, Request, S3Server

pytestmark = pytest.mark.once

Outcome = TypeVar("Outcome")

URL = "s3://bucket/p/train/x.rec"
MANIFEST = "p/_recpack/x.json"
OTHERS = {"p/_recpack/x-ray.idx": Blob(b"theirs", "0"), "p/train/x-ray.rec": Blob(b"theirs", "1")}


class Killed(BaseException):
    """The process is no more: nothing is cleared away."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, Path]:
    folder = tmp_path_factory.mktemp("lists")
    return {word: make_list(folder / word.decode(), word) for word in (b"OLD", b"NEW")}


def pack(source: Path, server: S3Server, shards: int | None, **options: object) -> recpack.Result:
    keywords: dict[str, Any] = {"uploads": 1, "jobs": 1, "endpoint_url": server.url, **options}
    return recpack.pack(source / "a.lst", source, URL, shards=shards, **keywords)


def content(server: S3Server) -> tuple[bytes, int] | None:
    """The word of a set whose manifest is there, and its shards, all of them sound."""
    if MANIFEST not in server.objects:
        return None
    shards = json.loads(server.rec(MANIFEST))["shards"]
    words = set()
    for shard in shards:
        url = f"s3://bucket/p/train/{shard['name']}"
        data = server.rec(f"p/train/{shard['name']}")
        assert len(data) == shard["bytes"]
        with recpack.RecordReader(url, endpoint_url=server.url) as records:
            assert records.index() is not None
            words |= {bytes(records.read_key(k).image_bytes).split()[0] for k in records.keys}
    (word,) = words
    return word, len(shards)


def assert_tidy(server: S3Server, shards: int) -> None:
    """The files of the set, those of others, and nothing else."""
    stems = [f"x-{number:05d}-of-{shards:05d}" for number in range(shards)]
    wanted = {f"p/train/{stem}.rec" for stem in stems} | OTHERS.keys()
    wanted |= {f"p/_recpack/{stem}{suffix}" for stem in stems for suffix in (".idx", ".lst")}
    assert server.objects.keys() == (wanted | {MANIFEST} if shards else OTHERS.keys())
    assert not server.uploads


def kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the run when the store has done its nth request."""
    attempt, seen = S3Client.attempt, [0]

    def mortal(self: S3Client, work: Callable[[object], Outcome], **options: float) -> Outcome:
        def once(client: object) -> Outcome:
            if seen[0] >= number:
                raise Killed
            outcome = work(client)
            seen[0] += 1
            if seen[0] >= number:
                raise Killed
            return outcome

        return attempt(self, once, **options)

    def abort(self: S3SetSink) -> None:
        for one in self._sinks:
            one.stop()

    monkeypatch.setattr(S3Client, "attempt", mortal)
    monkeypatch.setattr(S3SetSink, "abort", abort)
    monkeypatch.setattr(_Shard, "discard", _Shard.stop)


@pytest.fixture(params=[0, 1, 2], ids=["fresh", "another number", "the same number"])
def old(
    request: pytest.FixtureRequest, hostile: S3Server, sources: dict[bytes, Path]
) -> Iterator[int]:
    """So many shards lie there; the new set has two."""
    hostile.objects |= OTHERS
    if request.param:
        pack(sources[b"OLD"], hostile, request.param)
    yield request.param
    assert hostile.objects.keys() & OTHERS.keys() == OTHERS.keys()


def test_killed_at_every_request(
    hostile: S3Server, old: int, sources: dict[bytes, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then another run begins, or s3-cleanup does it."""
    before, ends = deepcopy((hostile.objects, hostile.uploads)), set()
    older = (b"OLD", old) if old else None
    for number in range(1 + old, 200, 3):
        hostile.objects, hostile.uploads = deepcopy(before)
        with monkeypatch.context() as patch:
            kill_at(number, patch)
            try:
                pack(sources[b"NEW"], hostile, 2, overwrite=bool(old))
            except Killed:
                pass
            else:
                break  # it has fewer requests
        found = content(hostile)
        assert found in (older, None, (b"NEW", 2)), number
        marker = hostile.objects.get("p/_recpack/x.upload.json")
        arrived = marker is not None and json.loads(marker.data)["pending"] is not None
        assert arrived or found is not None or not old  # only what will be published replaces
        if number % 2:
            assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
            found = (b"NEW", 2) if arrived else found
            assert content(hostile) == found, number
            assert_tidy(hostile, found[1] if found else 0)
        elif found is not None or arrived:
            with pytest.raises(recpack.SinkError, match="exists"):
                pack(sources[b"NEW"], hostile, 2)
            found = (b"NEW", 2) if arrived else found
            assert content(hostile) == found, number
            assert_tidy(hostile, found[1] if found else 0)
        else:
            pack(sources[b"NEW"], hostile, 2)
            assert content(hostile) == (b"NEW", 2)
            assert_tidy(hostile, 2)
        ends.add((arrived, found))
    assert number > 60
    assert ends >= {(False, older), (True, (b"NEW", 2))}


@pytest.mark.parametrize("old", [2], indirect=True)
@pytest.mark.parametrize("harm", ["403", "gone"])
def test_refused_at_every_request(
    hostile: S3Server,
    old: int,
    sources: dict[bytes, Path],
    monkeypatch: pytest.MonkeyPatch,
    harm: str,
) -> None:
    """One request is refused, or the network is gone from it on: the note tells what to do."""
    monkeypatch.setattr("recpack.sinks.s3_set.S3SetSink", partial(S3SetSink, patience=0.3))
    assert content(hostile) == (b"OLD", old)
    before, ends = deepcopy((hostile.objects, hostile.uploads)), set()
    for number in range(1, 200, 4):
        hostile.objects, hostile.uploads = deepcopy(before)
        hostile.requests.clear()

        def fault(request: Request, number: int = number) -> str | None:
            seen = hostile.requests.index(request) + 1
            if harm == "403":
                return "403" if seen == number else None
            return "reset" if seen >= number else None

        hostile.fault = fault
        notes, failed = "", False
        try:
            pack(sources[b"NEW"], hostile, 2, overwrite=True)
        except recpack.SinkError as error:
            notes, failed = " ".join(getattr(error, "__notes__", ())), True
        hostile.fault = lambda _: None
        if len(hostile.requests) < number:
            break
        found = content(hostile)
        if not failed:
            assert found == (b"NEW", 2)
        elif "it is not published yet; finish it with recpack s3-cleanup" in notes:
            ends.add("arrived")
            assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
            assert content(hostile) == (b"NEW", 2), number
        elif found != (b"NEW", 2):
            ends.add("before")
            assert found == (b"OLD", 2), number
            assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
            assert content(hostile) == (b"OLD", 2), number
        if failed:
            assert_tidy(hostile, 2)
    assert number > 60
    assert ends == {"arrived", "before"}


def test_another_program_writes_a_shard_meanwhile(
    hostile: S3Server, sources: dict[bytes, Path]
) -> None:
    """Its object stays, and nothing of ours."""
    key = "p/train/x-00001-of-00002.rec"

    def fault(request: Request) -> str | None:
        if request.name == "complete_multipart_upload" and request.key == key:
            hostile.objects[key] = Blob(b"theirs", "0")
        return None

    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match="another program wrote it during this run"):
        pack(sources[b"NEW"], hostile, 2)
    assert hostile.objects == {key: Blob(b"theirs", "0")}
    assert not hostile.uploads


def test_two_runs_that_begin_together(hostile: S3Server, sources: dict[bytes, Path]) -> None:
    """Only the last of them publishes."""
    again = iter([True])

    def fault(request: Request) -> Callable[[], object] | None:
        if request.name == "upload_part" and next(again, False):
            return lambda: pack(sources[b"OLD"], hostile, 2)
        return None

    hostile.fault = fault
    with pytest.raises(recpack.SinkError):
        pack(sources[b"NEW"], hostile, 2)
    assert content(hostile) == (b"OLD", 2)
    hostile.objects |= OTHERS
    assert_tidy(hostile, 2)


def test_what_is_not_replaced(hostile: S3Server, sources: dict[bytes, Path]) -> None:
    source = sources[b"NEW"]
    hostile.objects |= OTHERS
    pack(source, hostile, 2)
    with pytest.raises(recpack.SinkError, match=r"00000-of-00002\.rec exists; .*--overwrite"):
        pack(source, hostile, 3)
    shard = "s3://bucket/p/train/x-00001-of-00002.rec"
    for overwrite in (False, True):
        with pytest.raises(recpack.SinkError, match=r"x\.rec is a set of 2 shards, which one"):
            pack(source, hostile, None, overwrite=overwrite)
    with pytest.raises(recpack.SinkError, match=r"is a shard of the set p/train/x\.rec; choose"):
        recpack.pack(
            source / "a.lst", source, shard, endpoint_url=hostile.url, overwrite=True, jobs=1
        )
    assert content(hostile) == (b"NEW", 2)
    assert_tidy(hostile, 2)
    hostile.objects = dict(OTHERS)
    pack(source, hostile, None)
    for overwrite in (False, True):
        with pytest.raises(recpack.SinkError, match=r"x\.rec is one object, and a set of shards"):
            pack(source, hostile, 2, overwrite=overwrite)
    hostile.objects = {**OTHERS, "p/train/x-00001-of-00008.rec": Blob(b"of somebody", "2")}
    for overwrite in (False, True):
        with pytest.raises(
            recpack.SinkError, match=r"of-00008\.rec (exists|is a shard of another)"
        ):
            pack(source, hostile, 2, overwrite=overwrite)
    assert len(hostile.objects) == 3


def test_a_store_without_checksums(sources: dict[bytes, Path]) -> None:
    """The manifest keeps each shard's ETag."""
    server = S3Server(keeps_checksums=False)
    try:
        shards = pack(sources[b"NEW"], server, 2, checksum="none").manifest.shards
        stored = [server.objects[f"p/train/{one.name}"].etag for one in shards]
        assert [one.etag for one in shards] == stored
    finally:
        server.close()


def test_shards_of_several_parts(
    hostile: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that shrink make small parts, which are packed again with their neighbours; a run
    that is killed then is finished by the parts that belong to the shards."""
    hostile.min_part = 40_000
    monkeypatch.setattr(S3SetSink, "min_segment", 40_000)
    source = photographs(tmp_path / "d", 24, 300, 200)
    noise = np.random.RandomState(0).randint(0, 256, (900, 900, 3), np.uint8)
    for number in (3, 4, 15, 16):
        cv2.imwrite(str(source / "JPEGImages" / f"{number:03}.jpg"), noise)
        text = xml(900, 900, box_xml("cat", (6, 4, 30, 20)))
        (source / "Annotations" / f"{number:03}.xml").write_text(text)
    options = {"resize": 150, "shuffle": None, "shards": 2, "jobs": 1, "segment_size": "64KiB"}
    recpack.convert(source, tmp_path / "x.rec", **options)
    options |= {"endpoint_url": hostile.url, "uploads": 1}
    with monkeypatch.context() as patch:
        patch.setattr(_Shard, "complete", killed)
        patch.setattr(S3SetSink, "abort", lambda self: [one.stop() for one in self._sinks])
        with pytest.raises(Killed):
            recpack.convert(source, URL, **options)
    assert {len(upload.parts) > 1 for upload in hostile.uploads.values()} == {True}
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
    for number in range(2):
        name = f"x-{number:05d}-of-00002.rec"
        assert hostile.rec(f"p/train/{name}") == (tmp_path / name).read_bytes()
    assert hostile.rec(MANIFEST) == (tmp_path / "x.json").read_bytes()


def killed(self: _Shard, written: object) -> None:
    del self, written
    raise Killed
