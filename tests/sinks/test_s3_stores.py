"""Against two independent S3 servers over HTTP, so that nothing passes because one is lenient."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import recpack
from recpack.sinks.s3 import S3Sink
from recpack.storage.s3.objects import delete, put, read
from tests.cli.test_cli import run
from tests.conftest import Store
from tests.support.devkits import make_photos, make_voc

pytestmark = pytest.mark.once

REC = "p/train/train.rec"
COMPANIONS = ["p/_recpack/train.idx", "p/_recpack/train.json", "p/_recpack/train.lst"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A devkit of several parts; read only."""
    return make_voc(tmp_path_factory.mktemp("large") / "VOCdevkit", {"2007": 420}, seed=5)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A devkit of two years whose every file becomes an object; read only."""
    return make_voc(tmp_path_factory.mktemp("small") / "VOCdevkit", {"2007": 17, "2012": 13})


@pytest.fixture(scope="module")
def expected(large: Path) -> Path:
    output = large.parent / "train.rec"
    recpack.convert(large, output)
    return output


def convert(large: Path, store: Store, **options: object) -> recpack.Result:
    return recpack.convert(
        large, str(store.at(REC)), endpoint_url=store.url,
        **{"segment_size": "5MiB", "jobs": 2} | options,
    )  # fmt: skip


def assert_equal(store: Store, expected: Path) -> None:
    """All four objects are the local files, and nothing else is there."""
    assert store.listing() == sorted([*COMPANIONS, REC])
    assert read(store.access, store.at(REC)) == expected.read_bytes()
    for suffix in (".idx", ".lst"):
        local = expected.with_suffix(suffix).read_bytes()
        assert read(store.access, store.at(REC).companion(suffix)) == local
    local = json.loads(expected.with_suffix(".json").read_bytes())
    stored = json.loads(read(store.access, store.at(REC).companion(".json")))
    stored["rec"].pop("etag", None)
    assert stored == local


@pytest.mark.parametrize(
    "options",
    [
        {"jobs": 1},
        {"jobs": 3, "uploads": 2},
        {"segment_size": "64KiB"},
        {"segment_size": "7MiB", "uploads": 1},
        {"segment_size": "1GiB"},
        {"backend": "threading"},
        {"backend": "multiprocessing"},
    ],
    ids=str,
)
def test_the_object_is_the_local_file(
    store: Store, large: Path, expected: Path, options: dict[str, object]
) -> None:
    convert(large, store, **options)
    assert_equal(store, expected)
    assert recpack.verify(str(store.at(REC)), endpoint_url=store.url).bytes > 10 << 20


@pytest.mark.parametrize("checksum", ["crc64nvme", "none"])
def test_other_checksums(store: Store, large: Path, expected: Path, checksum: str) -> None:
    manifest = convert(large, store, checksum=checksum).manifest
    assert read(store.access, store.at(REC)) == expected.read_bytes()
    algorithm = "crc32" if checksum == "none" else checksum
    assert str(manifest.rec["checksum"]).startswith(algorithm + ":")
    for deep, proof in ((False, "etag"), (True, "read")):
        found = recpack.verify(str(store.at(REC)), deep=deep, endpoint_url=store.url)
        assert found.proof == proof


def test_less_than_one_part(store: Store, devkit: Path, tmp_path: Path) -> None:
    recpack.convert(devkit, str(store.at("train.rec")), endpoint_url=store.url)
    assert store.listing() == [
        "_recpack/train.idx", "_recpack/train.json", "_recpack/train.lst", "train.rec",
    ]  # fmt: skip
    recpack.convert(devkit, tmp_path / "train.rec")
    assert read(store.access, store.at("train.rec")) == (tmp_path / "train.rec").read_bytes()


def test_an_existing_output_is_kept_or_replaced(
    store: Store, devkit: Path, large: Path, expected: Path
) -> None:
    recpack.convert(devkit, str(store.at(REC)), endpoint_url=store.url)
    before = {key: read(store.access, store.at(key)) for key in store.listing()}
    with pytest.raises(recpack.SinkError, match="exists; choose another name"):
        convert(large, store)
    assert {key: read(store.access, store.at(key)) for key in store.listing()} == before
    convert(large, store, overwrite=True)
    assert_equal(store, expected)


def test_what_fails_leaves_nothing(store: Store, large: Path) -> None:
    def stop(progress: recpack.Progress) -> None:
        if progress.stage == "pack":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        convert(large, store, progress=stop)
    assert store.listing() == []


def test_images_that_turn_out_bad_are_left_out(store: Store, tmp_path: Path) -> None:
    devkit = make_voc(tmp_path / "d", {"2007": 60}, seed=9)
    for image in sorted((devkit / "VOC2007" / "JPEGImages").iterdir())[5:8]:
        data = bytearray(image.read_bytes())
        data[2:-2] = bytes(len(data) - 4)
        data[2:20] = image.read_bytes()[2:20]
        image.write_bytes(data)
    options = {"on_error": "skip", "reencode": True, "jobs": 2}
    recpack.convert(devkit, str(store.at(REC)), endpoint_url=store.url, **options)
    recpack.convert(devkit, tmp_path / "train.rec", **options)
    assert read(store.access, store.at(REC)) == (tmp_path / "train.rec").read_bytes()
    assert "p/_recpack/train.quarantine.tsv" in store.listing()


class Killed(BaseException):
    pass


def interrupted(
    large: Path, store: Store, monkeypatch: pytest.MonkeyPatch, **options: object
) -> None:
    """A run that dies when all parts are there, without a chance to clean up."""
    with monkeypatch.context() as patch:
        patch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())
        patch.setattr(S3Sink, "publish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            convert(large, store, **options)
    assert len(store.open_uploads()) == 1


def test_resume(store: Store, large: Path, expected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(large, store, monkeypatch)
    sent: list[int] = []
    from recpack.sinks import s3_writer as uploader

    monkeypatch.setattr(uploader._Uploader, "_send", lambda _, part: sent.append(part.number))
    convert(large, store, resume=True, jobs=1)
    assert sent == []
    assert_equal(store, expected)


def test_resume_refuses_what_changed(
    store: Store, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(large, store, monkeypatch)
    for options, topics in (
        ({"precision": 4}, "the options and the labels"),
        ({"shuffle": 7}, "the options and the images"),
        ({"segment_size": "6MiB"}, "the segments"),
        ({"storage_class": "STANDARD_IA"}, "the upload options"),
    ):
        with pytest.raises(recpack.SinkError, match=f"can't be resumed: {topics}.* changed"):
            convert(large, store, resume=True, **options)
        assert len(store.open_uploads()) == 1
    image = sorted((large / "VOC2007" / "JPEGImages").iterdir())[100]
    before = image.read_bytes()
    image.write_bytes(before[:-3] + b"\0" + before[-2:])
    try:
        with pytest.raises(recpack.SinkError, match=r"part \d+ of the interrupted upload is not"):
            convert(large, store, resume=True)
    finally:
        image.write_bytes(before)
    assert len(store.open_uploads()) == 1
    assert run("s3-cleanup", str(store.at("p")), "--endpoint-url", store.url) == 0
    assert store.listing() == []


def test_without_resume_an_interrupted_upload_is_begun_anew(
    store: Store, large: Path, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(large, store, monkeypatch, precision=4)
    convert(large, store)
    assert_equal(store, expected)


def test_resume_after_completion(
    store: Store, large: Path, expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the completion of the upload and the manifest."""
    with monkeypatch.context() as patch:
        patch.setattr(S3Sink, "abort", lambda self: self._dismiss_writer())
        patch.setattr("recpack.sinks.s3.finish", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            convert(large, store)
    assert REC in store.listing()
    assert COMPANIONS[1] not in store.listing()
    convert(large, store, resume=True)
    assert_equal(store, expected)


def test_cleanup_knows_its_own(
    store: Store, large: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(large, store, monkeypatch)
    foreign = store.access.call(
        "create_multipart_upload", Bucket=store.bucket, Key="p/train/foreign.bin"
    )["UploadId"]
    arguments = ["s3-cleanup", str(store.at("p/")), "--endpoint-url", store.url]
    assert run(*arguments, "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(item["own"], item["aborted"]) for item in found] in (
        [(True, False), (False, False)], [(False, False), (True, False)],
    )  # fmt: skip
    assert sum(item["bytes"] for item in found) > 10 << 20
    assert len(store.open_uploads()) == 2
    assert run(*arguments) == 0
    assert "not begun by recpack" in capsys.readouterr().out
    assert [upload.id for upload in store.open_uploads()] == [foreign]
    assert run(*arguments, "--all") == 0
    assert run(*arguments) == 0
    assert "no open uploads" in capsys.readouterr().out


def upload_tree(store: Store, folder: Path, prefix: str) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]

    def send(path: Path) -> None:
        put(store.access, store.at(prefix + path.relative_to(folder).as_posix()), path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, files))
    return str(store.at(prefix))


def test_a_devkit_on_s3(
    store: Store, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recpack.sources.base.CHUNK", 10)  # several tasks of each year
    place = upload_tree(store, small, "in/VOCdevkit/")
    options: dict[str, object] = {"year": "2012,2007", "difficult": "drop"}
    recpack.convert(small, tmp_path / "local.rec", **options)
    for jobs in (1, 2):
        recpack.convert(
            place, tmp_path / f"{jobs}.rec", endpoint_url=store.url, jobs=jobs, **options
        )
        assert (tmp_path / f"{jobs}.rec").read_bytes() == (tmp_path / "local.rec").read_bytes()
        assert (tmp_path / f"{jobs}.lst").read_bytes() == (tmp_path / "local.lst").read_bytes()
    recpack.convert(place.rstrip("/"), str(store.at(REC)), endpoint_url=store.url, **options)
    assert read(store.access, store.at(REC)) == (tmp_path / "local.rec").read_bytes()
    found = recpack.check(place, endpoint_url=store.url)
    assert found.as_dict() == recpack.check(small).as_dict()
    recpack.pack(
        tmp_path / "local.lst", place, tmp_path / "packed.rec",
        endpoint_url=store.url,
    )  # fmt: skip
    assert (tmp_path / "packed.rec").read_bytes() == (tmp_path / "local.rec").read_bytes()


def test_a_devkit_on_s3_with_faults(store: Store, tmp_path: Path) -> None:
    devkit = make_voc(tmp_path / "d", {"2007": 8})
    place = upload_tree(store, devkit, "in/")
    delete(store.access, store.at("in/VOC2007/JPEGImages/2007_000003.jpg"))
    image = devkit / "VOC2007" / "JPEGImages" / "2007_000005.jpg"
    put(store.access, store.at("in/VOC2007/JPEGImages/2007_000005.jpg"), image.read_bytes()[:-9])
    put(store.access, store.at("in/VOC2007/Annotations/2007_000006.xml"), b"")
    with pytest.raises(recpack.DataError) as caught:
        recpack.convert(place, tmp_path / "a.rec", endpoint_url=store.url)
    assert [(p.code, p.file) for p in caught.value.problems] == [
        ("image-missing", "VOC2007/Annotations/2007_000003.xml"),
        ("image-truncated", "VOC2007/Annotations/2007_000005.xml"),
        ("annotation-malformed", "VOC2007/Annotations/2007_000006.xml"),
    ]
    with pytest.raises(recpack.DataError, match="no such folder"):
        recpack.convert(str(store.at("nowhere")), tmp_path / "a.rec", endpoint_url=store.url)
    with pytest.raises(recpack.DataError, match=r"no folder VOC1999; the years are 2007"):
        recpack.convert(place, tmp_path / "a.rec", endpoint_url=store.url, year="1999")


def test_named_folders_on_s3(store: Store, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos")
    place = upload_tree(store, folder, "photos/")
    options = {"images": "images", "annotations": "xml", "classes": "auto"}
    recpack.convert(place, tmp_path / "a.rec", endpoint_url=store.url, **options)
    recpack.convert(folder, tmp_path / "b.rec", **options)
    assert (tmp_path / "a.rec").read_bytes() == (tmp_path / "b.rec").read_bytes()
    with pytest.raises(recpack.DataError, match=r"images: no folder pictures below s3://"):
        recpack.convert(
            place, tmp_path / "c.rec", endpoint_url=store.url, **options | {"images": "pictures"}
        )


def test_reading_and_the_commands(
    store: Store, large: Path, expected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(large, store)
    place = str(store.at(REC))
    with (
        recpack.RecordReader(place, endpoint_url=store.url) as records,
        recpack.RecordReader(expected) as local,
    ):
        assert len(records) == len(local)
        assert records.size == local.size
        for number in (0, 300, 17, -1):
            assert records[number].image_bytes == local[number].image_bytes
        assert [r.image_bytes for r in records] == [r.image_bytes for r in local]
        assert records.read_key(33).boxes.tolist() == local.read_key(33).boxes.tolist()
    for command in (["inspect"], ["inspect", "--record", "3"], ["verify"], ["verify", "--deep"]):
        name, *options = command
        assert run(name, place, *options, "--endpoint-url", store.url, "--json") == 0
        remote = json.loads(capsys.readouterr().out)
        assert run(name, os.fspath(expected), *options, "--json") == 0
        here = json.loads(capsys.readouterr().out)
        for outcome in (remote, here):
            outcome.pop("proof", None)
            outcome.pop("rules", None)
            outcome.pop("records", None) if name == "verify" else None
            outcome.pop("readers", None) if "--deep" not in options else None  # nothing was read
            (outcome.get("manifest") or {}).get("rec", {}).pop("etag", None)
        assert remote == here


def test_a_record_writer(store: Store, tmp_path: Path) -> None:
    images = [bytes([n]) * 700_000 for n in range(20)]
    for output in (str(store.at(REC)), os.fspath(tmp_path / "train.rec")):
        sink = S3Sink(output, endpoint_url=store.url) if output.startswith("s3") else output
        with recpack.RecordWriter(sink, segment_size=5 << 20) as writer:
            for image in images:
                writer.write(image, [[0, 0.1, 0.1, 0.5, 0.5]])
    assert read(store.access, store.at(REC)) == (tmp_path / "train.rec").read_bytes()
    sink = S3Sink(str(store.at("b.rec")), endpoint_url=store.url)
    with pytest.raises(ZeroDivisionError), recpack.RecordWriter(sink) as writer:
        writer.write(images[0], label=1)
        raise ZeroDivisionError
    assert store.listing() == ["p/_recpack/train.idx", "p/_recpack/train.json", REC]


def test_a_list_on_s3(
    store: Store, devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["list", os.fspath(devkit), str(store.at("l/train.lst")), "--endpoint-url", store.url]
    assert run(*target) == 0
    recpack.write_list(devkit, tmp_path / "train.lst")
    assert read(store.access, store.at("l/train.lst")) == (tmp_path / "train.lst").read_bytes()
    assert run(*target) == 1
    assert "exists; choose another name" in capsys.readouterr().err
    assert run(*target, "--overwrite") == 0


def test_a_split_on_s3(store: Store, devkit: Path, tmp_path: Path) -> None:
    outcome = run(
        "convert", os.fspath(devkit), str(store.at("p/voc.rec")), "--split", "0.7/0.3",
        "--endpoint-url", store.url, "--quiet",
    )  # fmt: skip
    assert outcome == 0
    recpack.convert(devkit, tmp_path / "voc.rec", split="0.7/0.3")
    assert [key for key in store.listing() if key.endswith(".rec")] == [
        "p/train/voc_train.rec", "p/val/voc_val.rec",
    ]  # fmt: skip
    for part in ("train", "val"):
        stored = read(store.access, store.at(f"p/{part}/voc_{part}.rec"))
        assert stored == (tmp_path / f"voc_{part}.rec").read_bytes()
    assert "p/_recpack/voc_val.json" in store.listing()


def test_verify_finds_what_changed(store: Store, devkit: Path) -> None:
    place = str(store.at(REC))
    recpack.convert(devkit, place, endpoint_url=store.url)
    data = read(store.access, store.at(REC))
    damaged = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    for changed, deep, message in (
        (data[:-4], False, "bytes, the manifest"),
        (damaged, True, "the manifest crc32"),
        (damaged, False, "use --deep|is another object|a copy"),
    ):
        put(store.access, store.at(REC), changed)
        with pytest.raises(recpack.DataError, match=message):
            recpack.verify(place, deep=deep, endpoint_url=store.url)
    delete(store.access, store.at(REC))
    with pytest.raises(recpack.DataError, match="there is no such object"):
        recpack.verify(place, endpoint_url=store.url)
    put(store.access, store.at(REC), data)
    delete(store.access, store.at(COMPANIONS[1]))
    with pytest.raises(recpack.DataError, match="no manifest to compare with"):
        recpack.verify(place, endpoint_url=store.url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://nowhere-at-all/a.rec", "there is no such bucket"),
        ("s3://{bucket}/a.txt", "the output's name must end in .rec"),
        ("s3://{bucket}/", "the output's name must end in .rec"),
    ],
)
def test_permanent_faults_come_before_the_work(
    store: Store, devkit: Path, url: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = url.format(bucket=store.bucket)
    code = 1 if "bucket" in message else 2
    assert run("convert", os.fspath(devkit), target, "--endpoint-url", store.url) == code
    error = capsys.readouterr().err
    assert f"{target}: {message}" in error
    assert store.listing() == []


def test_a_wrong_secret(
    swift: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that are used again take the credentials of this run, not those of their start."""
    store = Store("swift", swift, "secrets")
    store.access.call("create_bucket", Bucket=store.bucket)
    place = upload_tree(store, small, "in/")
    monkeypatch.setattr("recpack.sources.base.CHUNK", 10)
    recpack.convert(place, tmp_path / "a.rec", endpoint_url=swift, jobs=2)
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(recpack.RecpackError, match="secret key is wrong"):
            recpack.convert(place, tmp_path / "b.rec", endpoint_url=swift, jobs=2)
        with pytest.raises(recpack.SinkError, match=r"access denied|secret key is wrong"):
            recpack.convert(small, str(store.at(REC)), endpoint_url=swift)
    recpack.convert(place, tmp_path / "b.rec", endpoint_url=swift, jobs=2)
