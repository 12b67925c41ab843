"""Where readers find the companions of an output on S3 while it is published."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from recpack.storage.checksums import Checksum
from recpack.storage.s3 import objects
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import COMPANIONS, MANIFEST, PROPERTY, Location
from recpack.storage.s3.objects import copy, put, put_lines
from recpack.storage.s3.pending import (
    SUFFIXES,
    pending_location,
    readable,
    roll_forward,
    settle,
)
from recpack.storage.s3.uploads import Marker, Pending
from tests.support.s3server import Request, S3Server

pytestmark = pytest.mark.once

REC = Location("bucket", "p/train/train.rec")
TOKEN = "0123456789abcdef"
OLD, NEW = b"the old records", b"the new records, which are longer"
NEW_TEXTS = {".idx": "new index", ".json": "new manifest"}


def state(server: S3Server, rec: bytes, *, checked: bool = True, etag: str | None = None) -> Marker:
    """An old output with a list, the companions of a new one, which has none, and a marker."""
    s3 = S3Client(server.url, patience=1)
    put(s3, REC, rec, checked=checked)
    if checked:  # as an upload that is completed has it
        server.objects[REC.key].headers["x-amz-checksum-type"] = "FULL_OBJECT"
    for suffix in (".idx", ".lst", ".json"):
        put(s3, REC.companion(suffix), f"old {suffix}".encode())
    crc32 = {}
    for suffix, text in NEW_TEXTS.items():
        crc32[suffix] = put_lines(s3, pending_location(REC, TOKEN, suffix), [text])
    value = Checksum.CRC32.text(Checksum.CRC32.of(NEW))
    marker = Marker(REC.key, "gone", {}, TOKEN, Pending(len(NEW), value, etag, crc32))
    marker.write(s3, REC)
    return marker


def seen(server: S3Server) -> dict[str, str | None]:
    s3 = S3Client(server.url, patience=1)
    found = {suffix: readable(s3, REC, suffix).key for suffix in SUFFIXES}
    return {
        suffix: server.objects[key].data.decode() if key in server.objects else None
        for suffix, key in found.items()
    }


OLD_SEEN = {".idx": "old .idx", ".lst": "old .lst", ".quarantine.tsv": None, ".json": "old .json"}
NEW_SEEN = {".idx": "new index", ".lst": None, ".quarantine.tsv": None, ".json": "new manifest"}


def left(server: S3Server) -> list[str]:
    return [key for key in server.objects if TOKEN in key or key.endswith(".upload.json")]


def test_the_suffixes_are_those_of_the_sinks() -> None:
    assert (*COMPANIONS, MANIFEST) == SUFFIXES


@pytest.mark.parametrize("checked", [True, False])
def test_before_and_after_the_rec_is_replaced(hostile: S3Server, checked: bool) -> None:
    marker = state(hostile, OLD, checked=checked)
    assert seen(hostile) == OLD_SEEN
    state(hostile, NEW, checked=checked)
    assert seen(hostile) == NEW_SEEN
    settle(S3Client(hostile.url), REC, marker)
    assert seen(hostile) == NEW_SEEN
    assert REC.companion(".lst").key not in hostile.objects
    assert left(hostile) == []


def test_what_was_not_completed_is_removed(hostile: S3Server) -> None:
    marker = state(hostile, OLD)
    roll_forward(S3Client(hostile.url), REC)
    assert len(left(hostile)) == 3  # it is no business of who replaces a companion
    settle(S3Client(hostile.url), REC, marker)
    assert seen(hostile) == OLD_SEEN
    assert left(hostile) == []


@pytest.mark.parametrize("rec", [OLD, NEW])
def test_a_companion_that_only_some_outputs_have(hostile: S3Server, rec: bytes) -> None:
    marker = replace(state(hostile, rec), extra=(PROPERTY,))
    assert marker.pending is not None
    s3 = S3Client(hostile.url)
    crc32 = put_lines(s3, pending_location(REC, TOKEN, PROPERTY), ["1,2,3"])
    if rec == NEW:  # else the run was killed before it had put all
        pending = replace(marker.pending, crc32={**marker.pending.crc32, PROPERTY: crc32})
        marker = replace(marker, pending=pending)
    marker.write(s3, REC)
    settle(s3, REC, marker)
    assert left(hostile) == []
    assert (REC.companion(PROPERTY).key in hostile.objects) == (rec == NEW)
    with pytest.raises(ValueError, match="a field has a wrong value"):
        Marker.from_json(json.dumps(asdict(replace(marker, extra=(".upload.json",)))).encode())


def test_an_equal_etag_proves_it_without_reading(hostile: S3Server) -> None:
    state(hostile, NEW, checked=False, etag="0" * 32 + "-7")
    hostile.objects[REC.key].etag = "0" * 32 + "-7"
    hostile.requests.clear()
    readable(S3Client(hostile.url), REC, ".idx")
    assert [(r.name, r.key) for r in hostile.requests] == [
        ("get_object", REC.companion(".upload.json").key),
        ("head_object", REC.key),
        ("head_object", pending_location(REC, TOKEN, ".idx").key),
    ]
    hostile.objects.pop(REC.companion(".upload.json").key)
    hostile.requests.clear()
    readable(S3Client(hostile.url), REC, ".idx")
    assert len(hostile.requests) == 1
    hostile.objects.clear()


@pytest.mark.parametrize("last", range(1, 12))
def test_finishing_can_end_anywhere_and_be_done_again(hostile: S3Server, last: int) -> None:
    marker = state(hostile, NEW)
    count = len(hostile.requests)
    hostile.fault = lambda _: "403" if len(hostile.requests) - count > last else None
    try:
        settle(S3Client(hostile.url), REC, marker)
    except OSError:
        hostile.fault = lambda _: None
        assert seen(hostile) == NEW_SEEN
        roll_forward(S3Client(hostile.url), REC)
    assert last < 11 or not left(hostile)
    hostile.fault = lambda _: None
    settle(S3Client(hostile.url), REC, marker)
    assert seen(hostile) == NEW_SEEN
    assert left(hostile) == []


def test_a_damaged_copy_is_seen(hostile: S3Server) -> None:
    marker = state(hostile, NEW)
    pending = pending_location(REC, TOKEN, ".idx")
    hostile.objects[pending.key].data = b"changed!!"
    with pytest.raises(OSError, match=r"its CRC-32 is \w+, \w+ was written"):
        settle(S3Client(hostile.url, patience=0.2), REC, marker)
    assert hostile.objects[REC.companion(".idx").key].data == b"old .idx"
    hostile.objects[pending.key].data = b"new index"
    settle(S3Client(hostile.url), REC, marker)
    assert seen(hostile) == NEW_SEEN


HOSTILE = {
    "no object": b"[]",
    "no text": b"\xff",
    "deep": b"[" * 200_000,
    "long": b'{"key": "' + b" " * (1 << 20) + b'"}',
    "key": b'{"key": 7}',
    "no key": b"{}",
    "token": b'{"key": "p/train/train.rec", "token": "../x"}',
    "list": b'{"key": "p/train/train.rec", "pending": [1]}',
    "field": b'{"key": "p/train/train.rec", "pending": {"bytes": 1, "acl": "public-read"}}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_marker_of_a_stranger_is_refused(hostile: S3Server, text: bytes) -> None:
    hostile.answer("put_object", REC.companion(".upload.json").key, {}, {}, text)
    with pytest.raises(
        OSError, match=r"train.upload.json: (this is not a marker|it has 1,0).*delete"
    ):
        readable(S3Client(hostile.url), REC, ".idx")
    hostile.objects.clear()


@pytest.mark.parametrize(
    "change",
    [{"encryption": {"ACL": "public-read"}}, {"encryption": {"SSEKMSKeyId": 5}}, {"bytes": "5"},
     {"checksum": "md5:00"}, {"checksum": 5}, {"crc32": {".idx": "x"}}, {"crc32": 7}, {"etag": 1}],
    ids=str,
)  # fmt: skip
def test_a_marker_with_a_wrong_value_is_refused(change: dict[str, object]) -> None:
    values = {"key": REC.key, "pending": {"bytes": 1, "checksum": "crc32:00000001"}}
    assert Marker.from_json(json.dumps(values).encode()).pending == Pending(1, "crc32:00000001")
    values["pending"] = {"bytes": 1, "checksum": "crc32:00000001"} | change
    with pytest.raises(ValueError, match="this is not a marker of an upload"):
        Marker.from_json(json.dumps(values).encode())


def test_markers_of_other_versions_are_read() -> None:
    old = b'{"key": "a", "upload_id": "x", "plan": {"labels": "1"}, "fresh": true}'
    assert Marker.from_json(old) == Marker("a", "x", {"labels": "1"})


# ---- small objects


@pytest.mark.parametrize("kind", ["md5", "other"])
def test_a_small_object_is_proven_without_checksums(hostile: S3Server, kind: str) -> None:
    """Damage on its way is seen by the ETag or, if that is of another kind, by reading."""
    here = Location("bucket", "x.idx")

    def fault(request: Request) -> str | None:
        request.headers.pop("content-md5", None)  # of a store that does not look at it
        if request.name == "put_object" and request.count in (1, 2):
            return "damage"
        return "lie" if kind == "other" and request.name == "put_object" else None

    hostile.fault = fault
    put(S3Client(hostile.url), here, b"0123", checked=False)
    assert hostile.rec("x.idx") == b"0123"
    assert hostile.calls["put_object"] == 3
    assert hostile.calls["get_object"] == (3 if kind == "other" else 2)

    def damage(request: Request) -> str | None:
        request.headers.pop("content-md5", None)
        return "damage" if request.name == "put_object" else None

    hostile.fault = damage
    with pytest.raises(OSError, match=r"s3://bucket/x.idx arrived damaged"):
        put(S3Client(hostile.url, patience=0.2), here, b"0123", checked=False)


def test_a_damaged_small_object_is_not_kept_where_the_store_checks_its_md5(
    hostile: S3Server,
) -> None:
    hostile.fault = lambda r: "damage" if r.name == "put_object" else None
    with pytest.raises(OSError, match="BadDigest"):
        put(S3Client(hostile.url, patience=0.2), Location("bucket", "x"), b"0123", checked=False)
    assert not hostile.objects


def long_lines() -> list[str]:
    return [f"{number:0999}\n" for number in range(8_000)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "CHUNK", 6 << 20)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("harm", ["lost", "200", "500"])
def test_a_long_text_whose_end_is_not_answered(hostile: S3Server, harm: str) -> None:
    hostile.fault = lambda r: harm if r.name.startswith("complete") and r.count == 1 else None
    value = put_lines(S3Client(hostile.url), Location("bucket", "x.lst"), long_lines())
    text = "".join(long_lines()).encode()
    assert hostile.rec("x.lst") == text
    assert value == Checksum.CRC32.of(text)
    copy(S3Client(hostile.url), Location("bucket", "x.lst"), Location("bucket", "y.lst"), value)
    assert hostile.rec("y.lst") == text


@pytest.mark.usefixtures("small_chunks")
def test_a_long_text_that_is_damaged_when_it_is_joined(hostile: S3Server) -> None:
    def fault(request: Request) -> None:
        if request.name == "head_object":
            blob = hostile.objects["x.lst"]
            hostile.objects["x.lst"] = replace(blob, data=blob.data[:-1] + b"!", etag="other")

    hostile.fault = fault
    with pytest.raises(OSError, match=r"x\.lst arrived damaged; run again"):
        put_lines(S3Client(hostile.url), Location("bucket", "x.lst"), long_lines())


@pytest.mark.usefixtures("small_chunks")
def test_an_abort_that_fails_hides_no_error(hostile: S3Server) -> None:
    def fault(request: Request) -> str | None:
        return {"upload_part": "403", "abort_multipart_upload": "501"}.get(request.name)

    hostile.fault = fault
    with pytest.raises(OSError, match="access denied") as caught:
        put_lines(S3Client(hostile.url), Location("bucket", "x.lst"), long_lines())
    assert "run recpack s3-cleanup --all s3://bucket/x.lst" in caught.value.__notes__[0]
    hostile.uploads.clear()
