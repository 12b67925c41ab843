"""A part of ``python -m tests.faults s3``: every request failing in turn, a store with many faults,
and whether the machine finds a broken promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

import recpack
from recpack.storage.paths import write_text
from recpack.storage.s3 import objects
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import delete
from tests.faults.s3 import by_seed, commands, in_turn
from tests.faults.s3_commands import REC
from tests.faults.s3_promise import Promise
from tests.faults.store import InTurn
from tests.support.s3server import S3Server

pytestmark = [pytest.mark.once, pytest.mark.slow]


@pytest.mark.parametrize("name", ["convert", "convert --overwrite"])
def test_every_request_of_a_conversion_fails_in_turn(name: str) -> None:
    """The stride meets almost every request once, and each way to fail several times."""
    (count,) = in_turn(f"={name}", stride=9)
    assert count.broken == []
    assert count.runs > 30
    assert min(count.ends[end] for end in ("well", "error", "interrupted", "killed")) > 2


def test_a_store_of_many_faults() -> None:
    """The seeds meet each command."""
    counts = list(by_seed(range(1, 41)))
    assert [one for count in counts for one in count.broken] == []
    assert sum(count.ends["well"] for count in counts) > 10
    assert sum(count.ends["error"] for count in counts) > 10


def test_a_broken_promise_is_found() -> None:
    """A run that removes the old manifest before the new output is there."""
    with commands() as (store, every):
        command = next(one for one in every.all() if one.name == "convert --overwrite")

        def careless(url: str) -> int:
            delete(S3Client(url), Location("bucket", REC).companion(".json"))
            return command.action(url)

        promise = Promise(store, replace(command, action=careless))
        for kind in ("refused", "killed"):
            _, broken = promise.check(InTurn(kind, 9))
            assert any("unfinished" in one for one in broken), broken


def test_a_lost_answer_leaves_no_second_upload_of_a_long_text(
    hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "CHUNK", 4)
    hostile.min_part = 0
    hostile.answer("create_multipart_upload", "x/a.lst.old", {}, {}, b"")  # of somebody else
    first_is_lost = ("create_multipart_upload", 1)
    hostile.fault = lambda r: "lost" if (r.name, r.count) == first_is_lost else None
    write_text("s3://bucket/x/a.lst", ["0123\n", "4567\n"], S3Client(hostile.url))
    assert hostile.rec("x/a.lst") == b"0123\n4567\n"
    assert [upload.key for upload in hostile.uploads.values()] == ["x/a.lst.old"]
    hostile.uploads.clear()


def test_a_long_text_that_fails_says_what_can_stay(
    hostile: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "CHUNK", 4)
    hostile.fault = lambda r: "+403" if r.name == "create_multipart_upload" else None
    with pytest.raises(recpack.SinkError, match="access denied") as caught:
        write_text("s3://bucket/x/a.lst", ["0123\n", "4567\n"], S3Client(hostile.url))
    assert "run recpack s3-cleanup --all s3://bucket/x/a.lst" in caught.value.__notes__[0]
    hostile.uploads.clear()
