"""The multipart upload against a server that fails, lies, answers late or not at all."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import recpack
from recpack.sinks.s3 import S3Sink
from recpack.storage.checksums import Checksum
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.uploads import Marker
from tests.cli.test_cli import run
from tests.support.devkits import box_xml, jpeg, with_comment, xml
from tests.support.s3server import Request, S3Server

pytestmark = pytest.mark.once

REC = "p/train/train.rec"
URL = f"s3://bucket/{REC}"
MARKER = "p/_recpack/train.upload.json"
COMPANIONS = ["p/_recpack/train.idx", "p/_recpack/train.json", "p/_recpack/train.lst"]
EVERYTHING = sorted([*COMPANIONS, REC])
COMPLETE = "complete_multipart_upload"


def token_free(key: str) -> str:
    """A pending key without its random part."""
    return re.sub(r"\.[0-9a-f]{16}\.", ".*.", key)


def photographs(root: Path, count: int, width: int, height: int) -> Path:
    """A plain VOC folder of large images: few pictures, because drawing takes the time, and no two
    files alike."""
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    pictures = [jpeg(width, height, seed) for seed in range(min(count, 7))]
    for number in range(count):
        image = with_comment(pictures[number % 7], b"%d" % number)
        (root / "JPEGImages" / f"{number:03}.jpg").write_bytes(image)
        text = xml(width, height, box_xml("cat", (6, 4, 30, 20)))
        (root / "Annotations" / f"{number:03}.xml").write_text(text)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images for a ``.rec`` of seven parts; read only."""
    return photographs(tmp_path_factory.mktemp("photos") / "d", 60, 900, 700)


@pytest.fixture(scope="module")
def expected(photos: Path) -> bytes:
    output = photos.parent / "train.rec"
    recpack.convert(photos, output)
    return output.read_bytes()


def convert(
    photos: Path, server: S3Server, *, jobs: int = 2, overwrite: bool = False,
    resume: bool = False, segment_size: str = "5MiB", **sink: object,
) -> recpack.Result:  # fmt: skip
    settings = {"endpoint_url": server.url, "uploads": 4, "patience": 20.0} | sink
    target = S3Sink(URL, overwrite=overwrite, resume=resume, **settings)
    return recpack.convert(photos, target, jobs=jobs, segment_size=segment_size)


def nth(name: str, harm: str | float, *which: int) -> Callable[[Request], str | float | None]:
    """A fault of the nth requests of this name."""
    return lambda request: harm if request.name == name and request.count in which else None


def test_the_calls_of_a_run(hostile: S3Server, photos: Path, expected: bytes) -> None:
    convert(photos, hostile)
    assert hostile.rec(REC) == expected
    assert sorted(hostile.objects) == EVERYTHING
    parts = hostile.calls["upload_part"]
    assert 6 <= parts <= 8
    assert hostile.calls == {
        "head_bucket": 1, "head_object": 7, "get_object": 6, "create_multipart_upload": 1,
        "upload_part": parts, "complete_multipart_upload": 1, "put_object": 9, "delete_object": 6,
    }  # fmt: skip
    order = [token_free(r.key) for r in hostile.requests if r.name in ("put_object", COMPLETE)]
    pending = ["p/_recpack/train.*.idx", "p/_recpack/train.*.lst", "p/_recpack/train.*.json"]
    final = ["p/_recpack/train.idx", "p/_recpack/train.lst", "p/_recpack/train.json"]
    assert order == [MARKER, MARKER, *pending, MARKER, REC, *final]
    for request in hostile.requests:
        if request.name == "upload_part":
            # unsigned, because this is loopback; one checksum; no trailer; no 100-continue
            assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
            assert "x-amz-checksum-crc32" in request.headers
            assert "x-amz-trailer" not in request.headers
            assert "aws-chunked" not in request.headers.get("content-encoding", "")
            assert "expect" not in request.headers


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    "harm",
    ["500", "502", "503", "504", "429", "RequestTimeout", "RequestTimeTooSkewed", "ExpiredToken",
     "BadDigest", "SlowDown", "reset", "lost", "damage"],
)  # fmt: skip
def test_parts_survive(
    hostile: S3Server, photos: Path, expected: bytes, harm: str, jobs: int
) -> None:
    hostile.fault = nth("upload_part", harm, 1, 2, 5)
    convert(photos, hostile, jobs=jobs)
    assert hostile.rec(REC) == expected
    assert sorted(hostile.objects) == EVERYTHING
    assert hostile.calls["upload_part"] == len(hostile_parts(hostile)) + 3


def hostile_parts(server: S3Server) -> set[int]:
    return {request.number for request in server.requests if request.name == "upload_part"}


@pytest.mark.parametrize(
    "name",
    ["head_bucket", "head_object", "get_object", "put_object", "delete_object",
     "create_multipart_upload", "complete_multipart_upload"],
)  # fmt: skip
@pytest.mark.parametrize("harm", ["503", "reset", "lost", "RequestTimeTooSkewed"])
def test_every_other_request_survives(
    hostile: S3Server, devkit: Path, name: str, harm: str
) -> None:
    hostile.fault = nth(name, harm, 1, 2)
    convert(devkit, hostile)
    assert sorted(hostile.objects) == EVERYTHING


@pytest.mark.parametrize("harm", ["200", "500", "lost", "ConditionalRequestConflict"])
def test_completing_survives(hostile: S3Server, photos: Path, expected: bytes, harm: str) -> None:
    hostile.fault = nth("complete_multipart_upload", harm, 1, 2)
    convert(photos, hostile)
    assert hostile.rec(REC) == expected
    assert sorted(hostile.objects) == EVERYTHING


def test_a_tenth_of_all_requests_fails(hostile: S3Server, photos: Path, expected: bytes) -> None:
    dice = random.Random(1)
    harms: list[str | float] = ["500", "503", "reset", "lost", "damage", "BadDigest", 0.2]

    def fault(request: Request) -> str | float | None:
        del request
        return dice.choice(harms) if dice.random() < 0.1 else None

    hostile.fault = fault
    for jobs in (1, 2, 3):
        convert(photos, hostile, jobs=jobs, overwrite=True)
        assert hostile.rec(REC) == expected
        assert sorted(hostile.objects) == EVERYTHING


def test_resets_for_seconds(hostile: S3Server, photos: Path, expected: bytes) -> None:
    """Where boto3's own retries end after 0.4 s."""
    begun: list[float] = []

    def fault(request: Request) -> str | None:
        if request.name != "upload_part":
            return None
        begun.append(time.monotonic())
        return "reset" if time.monotonic() < begun[0] + 3 else None

    hostile.fault = fault
    convert(photos, hostile, uploads=16)
    assert hostile.rec(REC) == expected


def test_answers_out_of_order_and_uploads_apart_from_jobs(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    convert(photos, hostile, jobs=2)  # both workers are there from now on
    hostile.most_at_once = 0
    hostile.fault = lambda r: 1.0 - r.number % 3 * 0.3 if r.name == "upload_part" else None
    convert(photos, hostile, jobs=1, uploads=3, overwrite=True)
    assert hostile.rec(REC) == expected
    assert hostile.most_at_once == 3
    hostile.fault = hostile.together(4, 0)  # on a slow machine too
    convert(photos, hostile, jobs=2, uploads=6, overwrite=True)
    assert 4 <= hostile.most_at_once <= 6
    assert hostile.rec(REC) == expected


def test_patience_ends(hostile: S3Server, photos: Path) -> None:
    hostile.fault = lambda r: "503" if r.name == "upload_part" else None
    with pytest.raises(recpack.SinkError, match=r"train.rec: .*SlowDown.*\d+ attempts in \d+ s"):
        convert(photos, hostile, patience=1.0)
    assert sorted(hostile.objects) == []


def test_a_permanent_fault_is_not_repeated(hostile: S3Server, photos: Path) -> None:
    hostile.fault = lambda r: "403" if r.name == "upload_part" else None
    with pytest.raises(recpack.SinkError, match="access denied"):
        convert(photos, hostile, jobs=1, uploads=1)
    assert hostile.calls["upload_part"] == 1
    assert sorted(hostile.objects) == []


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("head_bucket", "403", "access denied"),
        ("head_bucket", "404", "there is no such bucket; create it"),
        ("create_multipart_upload", "403", "access denied; use credentials"),
        ("put_object", "403", "access denied; use credentials"),
        ("create_multipart_upload", "AuthorizationHeaderMalformed", "in another region; set AWS_"),
        ("create_multipart_upload", "SignatureDoesNotMatch", "the secret key is wrong"),
        ("create_multipart_upload", "InvalidAccessKeyId", "the access key is not known"),
    ],
)
def test_preflight(
    hostile: S3Server, devkit: Path, name: str, harm: str, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    hostile.fault = lambda r: harm if r.name == name else None
    assert run("convert", os.fspath(devkit), URL, "--endpoint-url", hostile.url) == 1
    error = capsys.readouterr().err
    assert message in error
    assert URL in error
    assert "Traceback" not in error
    assert hostile.calls[name] == 1  # at once
    assert hostile.calls["upload_part"] == 0
    assert sorted(hostile.objects) == []


def test_a_server_that_is_not_there(devkit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", os.fspath(devkit), URL, "--endpoint-url", "http://127.0.0.1:1") == 1
    assert "Could not connect to the endpoint URL" in capsys.readouterr().err


def test_the_object_of_somebody_else_is_not_touched(hostile: S3Server, photos: Path) -> None:
    def fault(request: Request) -> None:
        if request.name == "complete_multipart_upload":
            hostile.answer("put_object", REC, {}, {}, b"theirs")

    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match="another program wrote it during this run"):
        convert(photos, hostile)
    assert sorted(hostile.objects) == [REC]
    assert hostile.rec(REC) == b"theirs"


def test_an_upload_that_is_aborted_elsewhere(hostile: S3Server, photos: Path) -> None:
    def fault(request: Request) -> None:
        if request.name == "upload_part" and request.count == 3:
            hostile.uploads.clear()

    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match="the upload no longer exists"):
        convert(photos, hostile)
    assert sorted(hostile.objects) == []


def test_a_completion_that_is_applied_and_never_answered(hostile: S3Server, photos: Path) -> None:
    hostile.fault = lambda r: "lost" if r.name == "complete_multipart_upload" else None
    convert(photos, hostile, patience=1.0)
    assert sorted(hostile.objects) == EVERYTHING
    hostile.objects.clear()
    hostile.fault = lambda r: "reset" if r.name == "complete_multipart_upload" else None
    with pytest.raises(recpack.SinkError, match="attempts in"):
        convert(photos, hostile, patience=1.0)
    assert sorted(hostile.objects) == []


def test_what_stood_there_before_is_not_taken_for_ours(
    hostile: S3Server, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was to replace it was killed; the next one must be told to replace it too."""
    hostile.answer("put_object", REC, {}, {}, b"older, of another tool")
    with monkeypatch.context() as patch:
        patch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())
        hostile.fault = lambda r: "403" if r.name == "upload_part" else None
        with pytest.raises(recpack.SinkError):
            convert(photos, hostile, overwrite=True)
    hostile.fault = lambda _: None
    hostile.uploads.clear()  # as a lifecycle rule does
    with pytest.raises(recpack.SinkError, match="exists; choose another name"):
        convert(photos, hostile)
    assert hostile.rec(REC) == b"older, of another tool"
    convert(photos, hostile, overwrite=True)
    assert sorted(hostile.objects) == EVERYTHING


def test_a_lie_about_a_part(hostile: S3Server, photos: Path) -> None:
    hostile.fault = nth("upload_part", "lie", 2)
    with pytest.raises(recpack.SinkError, match="InvalidPart"):
        convert(photos, hostile)
    assert sorted(hostile.objects) == []


def test_a_lie_about_a_part_is_seen_without_checksums(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    hostile.fault = nth("upload_part", "lie", 2)
    convert(photos, hostile, checksum="none")
    assert hostile.rec(REC) == expected


@pytest.mark.parametrize("checksum", ["crc32", "none"])
def test_an_object_that_is_not_what_was_sent(
    hostile: S3Server, photos: Path, checksum: str
) -> None:
    """The store damages it when it joins the parts, and says nothing."""

    def fault(request: Request) -> None:
        if request.name == "head_object" and REC in hostile.objects:
            blob = hostile.objects[REC]
            if blob.data[-1] != 7:
                blob.data = blob.data[:-1] + b"\7"
                blob.etag = "0" * 32 + "-7"
                blob.headers = {
                    name: Checksum.CRC32.base64(Checksum.CRC32.of(blob.data))
                    if name.endswith("crc32")
                    else value
                    for name, value in blob.headers.items()
                }

    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match=r"its crc32 is .* was packed"):
        convert(photos, hostile, checksum=checksum)
    assert sorted(hostile.objects) == []


def test_an_object_that_is_cut_short(hostile: S3Server, photos: Path) -> None:
    def fault(request: Request) -> None:
        if request.name == "head_object" and REC in hostile.objects:
            hostile.objects[REC].data = hostile.objects[REC].data[:1000]

    hostile.fault = fault
    with pytest.raises(recpack.SinkError, match=r"it has 1,000 bytes, [\d,]+ were packed"):
        convert(photos, hostile)
    assert sorted(hostile.objects) == []


def test_an_etag_of_another_kind_is_no_damage(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    """Some stores make ETags in their own way; then the object is read back."""

    def fault(request: Request) -> None:
        if request.name == "head_object" and REC in hostile.objects:
            hostile.objects[REC].etag = "another-kind"

    hostile.fault = fault
    result = convert(photos, hostile, checksum="none")
    assert hostile.rec(REC) == expected
    assert result.manifest.rec["etag"] == "another-kind"


def test_a_store_without_checksums(
    photos: Path, expected: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    server = S3Server(keeps_checksums=False)
    place = ["convert", os.fspath(photos), URL, "--endpoint-url", server.url]
    assert run(*place) == 1
    assert "use --checksum none" in capsys.readouterr().err
    assert not server.objects
    assert run(*place, "--checksum", "none", "--quiet") == 0
    assert server.rec(REC) == expected
    assert run("verify", URL, "--endpoint-url", server.url) == 0
    assert "ETag" in capsys.readouterr().out
    server.close()
    assert not server.uploads


def test_credentials_that_expire_are_asked_for_anew(
    hostile: S3Server, photos: Path, expected: bytes, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Somebody else renews them in the file, as many organisations do."""
    file = tmp_path / "credentials"

    def write(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=x\n")

    write("old")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.fspath(file))

    def fault(request: Request) -> str | None:
        if request.name == "upload_part" and request.count == 2:
            write("new")
        expired = "upload_part" in hostile.calls and hostile.calls["upload_part"] > 1
        return "ExpiredToken" if expired and "/new" not in key(request) else None

    def key(request: Request) -> str:
        return request.headers["authorization"].replace("Credential=", "/")

    hostile.fault = fault
    convert(photos, hostile, patience=21.0)
    assert hostile.rec(REC) == expected
    assert {"/old" in key(r) for r in hostile.requests} == {True, False}


def test_an_abort_that_fails_is_told(hostile: S3Server, photos: Path) -> None:
    hostile.fault = lambda r: "403" if r.name in ("upload_part", "abort_multipart_upload") else None
    with pytest.raises(recpack.SinkError, match="access denied") as caught:
        convert(photos, hostile)
    assert any("run recpack s3-cleanup s3://" in note for note in caught.value.__notes__)
    assert len(hostile.uploads) == 1
    hostile.fault = lambda _: None
    assert run("s3-cleanup", "s3://bucket/p", "--endpoint-url", hostile.url) == 0
    assert sorted(hostile.objects) == []


def test_with_resume_a_failure_keeps_the_upload(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    hostile.fault = lambda r: "403" if r.name == "upload_part" and r.count > 4 else None
    with pytest.raises(recpack.SinkError, match="access denied") as caught:
        convert(photos, hostile, resume=True)
    assert any("run again with --resume" in note for note in caught.value.__notes__)
    (upload,) = hostile.uploads.values()
    there = set(upload.parts)
    assert there
    hostile.fault = lambda _: None
    hostile.requests.clear()
    convert(photos, hostile, resume=True)
    assert hostile.rec(REC) == expected
    assert sorted(hostile.objects) == EVERYTHING
    assert not hostile_parts(hostile) & there


def test_resume_sends_again_what_it_cannot_compare(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    hostile.fault = lambda r: "403" if r.name == "upload_part" and r.count > 4 else None
    with pytest.raises(recpack.SinkError):
        convert(photos, hostile, resume=True)
    (upload,) = hostile.uploads.values()
    for part in upload.parts.values():  # as under SSE-KMS in a store that keeps no checksums
        part.headers.clear()
        part.etag = "no-md5"
    hostile.fault = lambda _: None
    convert(photos, hostile, resume=True)
    assert hostile.rec(REC) == expected


def test_resume_without_anything_to_resume(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    convert(photos, hostile, resume=True)
    assert hostile.rec(REC) == expected
    assert sorted(hostile.objects) == EVERYTHING
    with pytest.raises(recpack.SinkError, match="exists"):
        convert(photos, hostile, resume=True)


def test_a_run_killed_before_its_upload_had_an_id(
    hostile: S3Server, photos: Path, expected: bytes
) -> None:
    access = S3Client(hostile.url)
    Marker(REC).write(access, Location("bucket", REC))
    access.call("create_multipart_upload", Bucket="bucket", Key=REC)
    convert(photos, hostile, resume=True)
    assert hostile.rec(REC) == expected


def test_the_marker_of_another_output_is_not_ours(hostile: S3Server, devkit: Path) -> None:
    """Two outputs of one name in sibling folders have their companions in one place."""
    access = S3Client(hostile.url)
    foreign = access.call("create_multipart_upload", Bucket="bucket", Key="p/other/train.rec")
    Marker("p/other/train.rec", foreign["UploadId"]).write(access, Location("bucket", REC))
    with pytest.raises(recpack.SinkError, match="has the same companions"):
        convert(devkit, hostile, overwrite=True)
    assert run("s3-cleanup", URL, "--endpoint-url", hostile.url) == 0
    assert len(hostile.uploads) == 1
    assert run("s3-cleanup", "s3://bucket/p/other/train.rec", "--endpoint-url", hostile.url) == 0
    convert(devkit, hostile)
    assert sorted(hostile.objects) == EVERYTHING


def test_storage_class_and_encryption(hostile: S3Server, devkit: Path) -> None:
    options = ["--storage-class", "STANDARD_IA", "--kms-key-id", "alias/mine", "--requester-pays"]
    place = ["convert", os.fspath(devkit), URL, "--endpoint-url", hostile.url, "--quiet"]
    assert run(*place, *options) == 0
    for request in hostile.requests:
        kms = request.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
        begun = request.name == "create_multipart_upload"
        assert (kms == "alias/mine") == (begun or request.name == "put_object"), request
        assert (request.headers.get("x-amz-storage-class") == "STANDARD_IA") == begun
        if request.name != "head_bucket":
            assert request.headers["x-amz-request-payer"] == "requester"


def test_options_of_s3_need_s3(devkit: Path, tmp_path: Path) -> None:
    for options in ({"resume": True}, {"storage_class": "GLACIER"}, {"sse": "AES256"}):
        with pytest.raises(recpack.ConfigError, match="only for an output on S3"):
            recpack.convert(devkit, tmp_path / "a.rec", **options)


def test_one_image_of_150_mb(hostile: S3Server, tmp_path: Path) -> None:
    photos = photographs(tmp_path / "d", 3, 60, 40)
    image = photos / "JPEGImages" / "001.jpg"
    with image.open("r+b") as file:
        file.truncate(150_000_000)
        file.seek(-2, os.SEEK_END)
        file.write(b"\xff\xd9")
    options = {"shuffle": None, "jobs": 1}
    recpack.convert(photos, tmp_path / "train.rec", **options)
    recpack.convert(photos, URL, endpoint_url=hostile.url, segment_size="5MiB", **options)
    assert hostile.rec(REC) == (tmp_path / "train.rec").read_bytes()
    assert hostile_parts(hostile) == {1, 2}
