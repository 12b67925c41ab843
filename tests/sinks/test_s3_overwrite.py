"""A run into S3 that ends at any of its requests: the old output is whole, or the new one is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

import pytest

import recpack
from recpack.sinks.s3 import S3Sink
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.pending import SUFFIXES, readable, settle
from recpack.storage.s3.uploads import Marker, read_marker
from tests.cli.test_cli import run
from tests.support.s3server import Blob, Request, S3Server

pytestmark = pytest.mark.once

Outcome = TypeVar("Outcome")

URL = "s3://bucket/p/train/train.rec"
REC = Location("bucket", "p/train/train.rec")
OTHERS = {"p/_recpack/trainer.idx": Blob(b"theirs", "0"), "p/train.rec": Blob(b"theirs", "1")}


class Killed(BaseException):
    """The process is no more: nothing is cleared away."""


def write(server: S3Server, *, records: int, overwrite: bool, resume: bool = False) -> None:
    settings = {"endpoint_url": server.url, "patience": 0.3}
    sink = S3Sink(URL, overwrite=overwrite, resume=resume, **settings)
    with recpack.RecordWriter(sink) as writer:
        for number in range(records):
            writer.write(b"image %d" % number, label=[number])


def records(server: S3Server) -> int | None:
    """How many a whole output has; None where nothing looks finished. Else it fails."""
    s3 = S3Client(server.url, patience=0.3)
    if readable(s3, REC, ".json").key not in server.objects:
        return None
    return recpack.verify(URL, deep=True, jobs=1, endpoint_url=server.url).records


def kill_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the run when the store has done its nth request."""
    attempt, seen = S3Client.attempt, iter(range(1, 1000))

    def mortal(self: S3Client, work: Callable[[object], Outcome], **options: float) -> Outcome:
        def once(client: object) -> Outcome:
            outcome = work(client)
            if next(seen) < number:
                return outcome
            raise Killed

        return attempt(self, once, **options)

    monkeypatch.setattr(S3Client, "attempt", mortal)
    monkeypatch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())


@pytest.fixture(params=[0, 2], ids=["fresh", "overwrite"])
def old(request: pytest.FixtureRequest, hostile: S3Server) -> Iterator[int]:
    """So many records lie there; the new output has three."""
    hostile.objects |= OTHERS
    if request.param:
        write(hostile, records=request.param, overwrite=False)
        hostile.answer("put_object", REC.companion(".lst").key, {}, {}, b"old list")
    yield request.param
    assert hostile.objects.keys() & OTHERS.keys() == OTHERS.keys()


def assert_tidy(server: S3Server) -> None:
    outputs = {REC.key, *(REC.companion(suffix).key for suffix in SUFFIXES)}
    assert server.objects.keys() - OTHERS.keys() - outputs == set()
    assert not server.uploads


def test_killed_at_every_request(
    hostile: S3Server, old: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, ends = deepcopy((hostile.objects, hostile.uploads)), set()
    for number in range(1, 100):
        hostile.objects, hostile.uploads = deepcopy(before)
        with monkeypatch.context() as patch:
            kill_at(number, patch)
            try:
                write(hostile, records=3, overwrite=bool(old))
            except Killed:
                pass
            else:
                break  # it has fewer requests
        left = deepcopy((hostile.objects, hostile.uploads))
        found = records(hostile)
        assert found in ({old, 3} if old else {None, 3}), number
        ends.add(found)
        assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
        assert records(hostile) == found
        assert_tidy(hostile)
        hostile.objects, hostile.uploads = deepcopy(left)
        if found == 3:
            with pytest.raises(recpack.SinkError, match="exists"):
                write(hostile, records=3, overwrite=False)
            assert_tidy(hostile)
            assert REC.companion(".lst").key not in hostile.objects
        hostile.objects, hostile.uploads = deepcopy(left)
        write(hostile, records=3, overwrite=bool(old or found), resume=number % 2 == 0)
        assert records(hostile) == 3
        assert_tidy(hostile)
    assert number > 20
    assert ends == ({old, 3} if old else {None, 3})


@pytest.mark.parametrize("old", [2], indirect=True)
@pytest.mark.parametrize("harm", ["403", "gone"])
def test_refused_at_every_request(hostile: S3Server, old: int, harm: str) -> None:
    """One request is refused, or the network is gone from it on."""
    before, ends = deepcopy((hostile.objects, hostile.uploads)), set()
    for number in range(1, 100):
        hostile.objects, hostile.uploads = deepcopy(before)
        hostile.requests.clear()

        def fault(request: Request, number: int = number) -> str | None:
            seen = hostile.requests.index(request) + 1
            if harm == "403":
                return "403" if seen == number else None
            return "reset" if seen >= number else None

        hostile.fault = fault
        told, failed = "", False
        try:
            write(hostile, records=3, overwrite=bool(old))
        except recpack.SinkError as error:
            told, failed = " ".join(getattr(error, "__notes__", ())), True
        hostile.fault = lambda _: None
        if len(hostile.requests) < number:
            break
        found = records(hostile)
        assert found == 3 or (failed and found == (old or None)), number
        ends.add(failed)
        if failed:
            clean = not hostile.uploads and (hostile.objects == before[0] or found == 3)
            assert clean or "s3-cleanup" in told, number
        assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
        assert records(hostile) == found
        assert_tidy(hostile)
    assert number > 20
    assert ends == {False, True}


def test_another_run_takes_over(hostile: S3Server) -> None:
    """The first one fails, and leaves the second alone."""
    second = S3Sink(URL, endpoint_url=hostile.url)

    def fault(request: Request) -> None:
        if request.name == "complete_multipart_upload":
            second.__enter__()

    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match="the upload no longer exists"):
        write(hostile, records=2, overwrite=False)
    assert list(hostile.uploads) == ["upload-2"]
    assert list(hostile.objects) == [REC.companion(".upload.json").key]
    second.close()
    assert not hostile.objects


@pytest.mark.parametrize("command", ["index", "unpack", "convert"])
def test_what_was_completed_is_finished_as_it_was_asked_for(
    hostile: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """By the next run that writes there, with the dead run's encryption; readers change nothing."""

    def die(*_: object) -> None:
        raise Killed

    write(hostile, records=2, overwrite=False)
    with monkeypatch.context() as patch:
        patch.setattr("recpack.sinks.s3.finish", die)
        patch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())
        sink = S3Sink(URL, overwrite=True, kms_key_id="mine", endpoint_url=hostile.url)
        with pytest.raises(Killed), recpack.RecordWriter(sink) as writer:
            writer.write(b"image 0", label=[0])
    hostile.requests.clear()
    access = ["--endpoint-url", hostile.url]
    if command == "unpack":
        assert run("unpack", URL, f"{tmp_path}/out", *access) == 0
        assert {r.name for r in hostile.requests} == {"get_object", "head_object"}
        assert run("s3-cleanup", "s3://bucket/p", *access) == 0
    elif command == "index":
        assert run("index", URL, "--overwrite", *access) == 0
    else:
        with pytest.raises(recpack.SinkError, match="exists"):
            write(hostile, records=3, overwrite=False)
    finished = [r for r in hostile.requests if r.name == "put_object"][:2]
    assert [r.key for r in finished] == [REC.companion(one).key for one in (".idx", ".json")]
    for request in finished:
        assert request.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "mine"
    assert records(hostile) == 1
    assert_tidy(hostile)


def test_a_key_whose_companions_would_be_too_long() -> None:
    room = 1024 - len("_recpack/.0123456789abcdef.quarantine.tsv")
    S3Sink(f"s3://bucket/{'x' * room}.rec")
    with pytest.raises(recpack.SinkError, match=r"2 bytes too long: S3's keys .* shorter key"):
        S3Sink(f"s3://bucket/{'x' * (room + 2)}.rec")


def test_two_runs_that_begin_in_the_same_moment(hostile: S3Server) -> None:
    """Neither sees the other's marker. The one whose marker does not stay is refused before it
    completes its upload, and leaves the other alone."""
    second = recpack.RecordWriter(S3Sink(URL, overwrite=True, endpoint_url=hostile.url))
    refused: list[str] = []

    def fault(request: Request) -> None:
        if request.name != "put_object":
            return
        if request.count == 1:
            second.__enter__()
        elif ".idx" in request.key:
            hostile.fault = lambda _: None
            second.write(b"other 0", label=[0])
            with pytest.raises(recpack.SinkError, match="another run on it began") as caught:
                second.__exit__(None, None, None)
            refused.append(str(caught.value))

    hostile.fault = fault
    write(hostile, records=3, overwrite=True)
    assert refused
    assert records(hostile) == 3
    assert_tidy(hostile)


@pytest.mark.parametrize("old", [0, 2])
def test_a_clean_up_that_read_the_marker_before_the_run_went_on(
    hostile: S3Server, old: int
) -> None:
    """It ends the run at its upload, or finishes what is completed; it never takes companions."""
    if old:
        write(hostile, records=old, overwrite=False)
    done: list[Marker] = []

    def stale(request: Request) -> None:
        s3 = S3Client(hostile.url, patience=0.3)
        if request.name == "upload_part":
            marker = read_marker(s3, REC)
            assert marker is not None
            done.append(marker)
        elif request.name == "head_object" and request.key == REC.key and len(done) == 1:
            done.append(done[0])
            settle(s3, REC, done[0])

    hostile.fault = stale
    write(hostile, records=3, overwrite=bool(old))
    assert len(done) == 2
    assert records(hostile) == 3
    assert_tidy(hostile)


def test_a_companion_that_vanishes_is_no_success(hostile: S3Server) -> None:
    def fault(request: Request) -> None:
        if request.name == "head_object" and request.key == REC.key and "upload-1" not in gone:
            for key in [key for key in hostile.objects if key.endswith(".json")]:
                if key.count(".") == 2 and "upload" not in key:
                    del hostile.objects[key]

    gone = hostile.uploads
    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match=r"removed .*train\.json before .* --overwrite"):
        write(hostile, records=3, overwrite=False)
    hostile.fault = lambda _: None
    write(hostile, records=3, overwrite=True)
    assert records(hostile) == 3
    assert_tidy(hostile)


def test_another_output_with_the_same_companions_is_ended_first(
    hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``p/other/train.rec`` would take the marker that says where the companions wait."""
    other = "s3://bucket/p/other/train.rec"
    with monkeypatch.context() as patch:
        patch.setattr("recpack.sinks.s3.finish", lambda *_: (_ for _ in ()).throw(Killed))
        patch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())
        with pytest.raises(Killed):
            write(hostile, records=3, overwrite=False)
    left = dict(hostile.objects)
    for overwrite in (False, True):
        with (
            pytest.raises(recpack.SinkError, match=f"end that run with recpack s3-cleanup {URL}"),
            S3Sink(other, overwrite=overwrite, endpoint_url=hostile.url),
        ):
            pass
        assert hostile.objects == left
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url) == 0
    with (
        pytest.raises(recpack.SinkError, match=r"exists \(maybe of a .rec in another folder\)"),
        S3Sink(other, endpoint_url=hostile.url),
    ):
        pass
    assert records(hostile) == 3
    assert_tidy(hostile)


def test_resumed_after_its_end_with_other_bytes(
    hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("recpack.sinks.s3.finish", lambda *_: (_ for _ in ()).throw(Killed))
        patch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())
        with pytest.raises(Killed):
            write(hostile, records=3, overwrite=False)
    sink = S3Sink(URL, resume=True, endpoint_url=hostile.url)
    with (
        pytest.raises(recpack.SinkError, match="has changed since; run again without") as caught,
        recpack.RecordWriter(sink) as writer,
    ):
        for number in range(3):
            writer.write(b"other %d" % number, label=[number])
    assert "finish it with recpack s3-cleanup" in " ".join(caught.value.__notes__)
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url) == 0
    assert records(hostile) == 3
    assert_tidy(hostile)


def test_credentials_that_may_not_delete(hostile: S3Server) -> None:
    """What they leave does no harm, and goes when somebody may delete."""
    hostile.fault = lambda r: "403" if r.name == "delete_object" else None
    write(hostile, records=3, overwrite=False)
    assert records(hostile) == 3
    assert REC.companion(".json").key in hostile.objects
    hostile.fault = lambda _: None
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url) == 0
    assert records(hostile) == 3
    assert_tidy(hostile)


def test_credentials_that_may_not_read(hostile: S3Server) -> None:
    """They could prove nothing, so nothing is sent."""
    hostile.fault = lambda r: "403" if r.name in ("get_object", "head_object") else None
    with pytest.raises(recpack.SinkError, match="access denied; use credentials"):
        write(hostile, records=3, overwrite=False)
    assert not hostile.calls["upload_part"]
    assert REC.key not in hostile.objects
    assert not hostile.uploads
    hostile.fault = lambda _: None
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url) == 0
    assert not hostile.objects


def test_an_upload_that_begins_when_nobody_waits_for_it(hostile: S3Server) -> None:
    """Ctrl-C comes while the store is asked, and the store takes its time."""

    def fault(request: Request) -> float | None:
        if request.name != "create_multipart_upload":
            return None
        os.kill(os.getpid(), signal.SIGINT)
        return 1.0

    hostile.fault = fault
    with pytest.raises(KeyboardInterrupt) as caught:
        write(hostile, records=3, overwrite=False)
    assert f"can have begun; abort it with recpack s3-cleanup {URL}" in caught.value.__notes__[0]
    give_up = time.monotonic() + 20
    while not hostile.uploads and time.monotonic() < give_up:
        time.sleep(0.01)
    assert len(hostile.uploads) == 1
    hostile.fault = lambda _: None
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url, "--quiet") == 0
    assert not hostile.uploads
    assert not hostile.objects
