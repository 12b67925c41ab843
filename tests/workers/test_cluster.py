"""One object packed by the workers of real clusters: dask's scheduler and workers as commands, and
ray."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.cli.app import main
from recpack.workers.cluster import connect
from recpack.workers.run import run
from tests.conftest import Store
from tests.sinks.test_s3_killed import await_parts, slow
from tests.sinks.test_s3_sink import EVERYTHING, REC, URL, photographs
from tests.sinks.test_s3_stores import upload_tree
from tests.support.clusters import WORKERS, Dask, Ray, dask_cluster, needs
from tests.support.s3server import S3Server
from tests.workers.test_run import die, fail

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos") / "d", 60, 900, 700)


@pytest.fixture(scope="module")
def expected(photos: Path) -> dict[str, bytes]:
    recpack.convert(photos, photos.parent / "train.rec", jobs=1)
    return {
        suffix: (photos.parent / f"train{suffix}").read_bytes()
        for suffix in (".rec", ".idx", ".lst", ".json")
    }


def files(folder: Path) -> dict[str, bytes]:
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def stored(store: Store) -> bytes:
    body = store.access.attempt(
        lambda client: client.get_object(Bucket=store.bucket, Key="p/train/train.rec")[
            "Body"
        ].read()
    )
    assert isinstance(body, bytes)
    return body


# ---- dask


def test_dask_writes_one_file(
    healthy: Dask, photos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    options = {"backend": "dask", "scheduler": healthy.address}
    recpack.convert(photos, tmp_path / "out" / "train.rec", **options)
    assert files(tmp_path / "out") == expected
    recpack.write_list(photos, tmp_path / "x.lst", **options)
    assert (tmp_path / "x.lst").read_bytes() == expected[".lst"]
    found = recpack.check(photos, classes="auto", **options)
    assert found.samples == 60
    recpack.pack(tmp_path / "x.lst", photos, tmp_path / "again" / "train.rec", **options)
    assert (tmp_path / "again" / "train.rec").read_bytes() == expected[".rec"]


def test_dask_writes_one_object(
    healthy: Dask, photos: Path, expected: dict[str, bytes], store: Store
) -> None:
    url = f"s3://{store.bucket}/p/train/train.rec"
    code = main([
        "convert", str(photos), url, "--endpoint-url", store.url, "--segment-size", "5MiB",
        "--backend", "dask", "--scheduler", healthy.address, "--quiet",
    ])  # fmt: skip
    assert code == 0
    assert stored(store) == expected[".rec"]
    with recpack.RecordReader(url, endpoint_url=store.url) as records:
        assert len(records) == 60


@pytest.mark.parametrize("kind", ["archive", "prefix", "archive on S3"])
def test_dask_reads_data_where_it_lies(
    healthy: Dask, photos: Path, expected: dict[str, bytes], store: Store, tmp_path: Path, kind: str
) -> None:
    source = str(tmp_path / "photos.tar")
    with tarfile.open(source, "w") as archive:
        archive.add(photos, "photos")
    if kind == "prefix":
        upload_tree(store, photos, "in/photos/")
        source = f"s3://{store.bucket}/in/photos/"
    elif kind == "archive on S3":
        body = Path(source).read_bytes()
        source = f"s3://{store.bucket}/in/photos.tar"
        store.access.call("put_object", Bucket=store.bucket, Key="in/photos.tar", Body=body)
    recpack.convert(
        source, f"s3://{store.bucket}/p/train/train.rec", endpoint_url=store.url, backend="dask",
        scheduler=healthy.address, segment_size="5MiB",
    )  # fmt: skip
    assert stored(store) == expected[".rec"]


def test_what_joblib_is_told_is_done(
    dask: Dask, photos: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    import joblib
    from distributed import Client

    with Client(dask.address) as client, joblib.parallel_config(backend="dask"):
        recpack.convert(photos, tmp_path / "a" / "train.rec")
        assert any("call_pickled" in str(key) for key in client.run_on_scheduler(_keys))
        recpack.convert(photos, tmp_path / "b" / "train.rec", backend="dask")  # its own Client
    assert files(tmp_path / "a") == files(tmp_path / "b") == expected


def _keys(dask_scheduler: Any) -> list[str]:
    return list(dask_scheduler.task_prefixes)


def test_an_error_in_a_task_comes_back_as_it_is(dask: Dask) -> None:
    options = recpack.Options(backend="dask", scheduler=dask.address)
    with connect(options):
        with pytest.raises(ZeroDivisionError):
            list(run(fail, range(9), 9, jobs=2, backend="dask"))
        for _ in range(3):  # dask gives a task up with the fourth worker that it has cost
            dask.add_worker()
        with pytest.raises(recpack.RecpackError, match="the cluster lost a task"):
            list(run(die, range(9), 9, jobs=2, backend="dask"))


def in_the_middle(server: S3Server, deed: Callable[[], None]) -> threading.Thread:
    """Do something when the first part has arrived."""

    def wait() -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            if any(upload.parts for upload in list(server.uploads.values())):
                deed()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


DASK = {"backend": "dask", "segment_size": "5MiB", "uploads": 4}


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_hangs(
    photos: Path, expected: dict[str, bytes], hostile: S3Server, tmp_path: Path, harm: int
) -> None:
    hostile.fault = slow
    with dask_cluster(tmp_path / "dask", patience=5) as dask:  # dask takes no less
        thread = in_the_middle(hostile, lambda: dask.workers[0].send_signal(harm))
        recpack.convert(photos, URL, endpoint_url=hostile.url, scheduler=dask.address, **DASK)
        thread.join()
    assert hostile.objects[REC].data == expected[".rec"]
    assert sorted(hostile.objects) == EVERYTHING


def test_workers_that_all_die(dask: Dask, photos: Path, hostile: S3Server) -> None:
    """The task waits for a worker that may come; Ctrl-C does not wait, and leaves nothing."""
    hostile.fault = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "recpack", "convert", str(photos), URL, "--endpoint-url",
         hostile.url, "--segment-size", "5MiB", "--backend", "dask", "--scheduler", dask.address],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def kill() -> None:
        for worker in dask.workers:
            worker.kill()

    in_the_middle(hostile, kill).join()
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert hostile.objects == {}


def test_a_scheduler_that_is_killed(dask: Dask, photos: Path, hostile: S3Server) -> None:
    import dask as configuration

    hostile.fault = slow
    assert dask.scheduler is not None
    thread = in_the_middle(hostile, dask.scheduler.kill)
    with (
        configuration.config.set({"distributed.comm.timeouts.connect": "2s"}),
        pytest.raises(recpack.RecpackError, match="the cluster lost a task"),
    ):
        recpack.convert(photos, URL, endpoint_url=hostile.url, scheduler=dask.address, **DASK)
    thread.join()
    assert hostile.objects == {}


def test_a_coordinator_that_is_killed_is_resumed(
    dask: Dask, photos: Path, expected: dict[str, bytes], hostile: S3Server
) -> None:
    hostile.fault = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "recpack", "convert", str(photos), URL, "--endpoint-url",
         hostile.url, "--segment-size", "5MiB", "--backend", "dask", "--scheduler", dask.address],
    )  # fmt: skip
    await_parts(hostile, 2, process)
    process.kill()
    process.wait()
    time.sleep(1)  # what is in flight arrives, or is given up with its Client
    before = len([request for request in hostile.requests if request.name == "upload_part"])
    hostile.fault = lambda _: None
    recpack.convert(
        photos, URL, endpoint_url=hostile.url, scheduler=dask.address, resume=True, **DASK
    )
    after = len([request for request in hostile.requests if request.name == "upload_part"])
    assert hostile.objects[REC].data == expected[".rec"]
    assert 0 < after - before < 8


def test_workers_that_see_other_folders(
    dask: Dask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``/proc/self/cwd`` means another folder to each process, as a path may to each machine."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    for worker in dask.workers:
        worker.kill()
        worker.wait()
    for _ in range(WORKERS):
        dask.add_worker(cwd=tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    options = {"backend": "dask", "scheduler": dask.address}
    with pytest.raises(recpack.RecpackError, match=r"worker .*: it does not see /proc/self/cwd as"):
        recpack.convert(photos, "/proc/self/cwd/train.rec", **options)
    (tmp_path / "here" / "data").symlink_to(photos)
    with pytest.raises(recpack.RecpackError, match=r"worker .*: it does not see /proc/self/cwd/d"):
        recpack.convert("/proc/self/cwd/data", tmp_path / "x" / "train.rec", **options)
    with tarfile.open(tmp_path / "here" / "data.tar", "w") as archive:
        archive.add(photos, ".")
    with pytest.raises(recpack.RecpackError, match=r"worker .*: it does not see /proc/.*\.tar"):
        recpack.convert("/proc/self/cwd/data.tar", tmp_path / "x" / "train.rec", **options)
    assert sorted(path.name for path in tmp_path.rglob("train*")) == []


def test_workers_of_another_version(
    healthy: Dask, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recpack.pipeline.reach.__version__", "9.9")
    options = {"backend": "dask", "scheduler": healthy.address}
    with pytest.raises(recpack.RecpackError, match=r"it has recpack 0.*, this process 9\.9"):
        recpack.convert(photos, tmp_path / "x" / "train.rec", **options)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--backend", "dask"], 2, "no dask Client; give its address"),
        (["--backend", "dask", "--scheduler", "tcp://127.0.0.1:9"], 1, "does not answer"),
        (["--scheduler", "tcp://127.0.0.1:9"], 2, "only dask has one"),
        (["--address", "127.0.0.1:9"], 2, "only ray has one"),
    ],
)
def test_clusters_that_are_not_there(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str],
    code: int, message: str,
) -> None:  # fmt: skip
    needs("distributed")
    import dask as configuration

    with configuration.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert main(["convert", str(devkit), str(tmp_path / "x.rec"), *arguments]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ---- ray (in a process of its own: it leaves sockets open)


def convert_by_ray(photos: Path, output: str | Path, address: str, *options: str) -> None:
    command = [sys.executable, "-m", "recpack", "convert", str(photos), str(output), "--backend",
               "ray", "--address", address, "--quiet", *options]  # fmt: skip
    subprocess.run(command, check=True)


def into(server: S3Server) -> tuple[str, ...]:
    return ("--endpoint-url", server.url, "--segment-size", "5MiB", "--uploads", "4")


def test_ray_writes_one_file_and_one_object(
    ray: Ray, photos: Path, expected: dict[str, bytes], tmp_path: Path, hostile: S3Server
) -> None:
    convert_by_ray(photos, tmp_path / "out" / "train.rec", ray.address)
    assert files(tmp_path / "out") == expected
    convert_by_ray(photos, URL, ray.address, *into(hostile))
    assert hostile.objects[REC].data == expected[".rec"]


def test_a_ray_worker_that_is_killed(
    ray: Ray, photos: Path, expected: dict[str, bytes], hostile: S3Server
) -> None:
    hostile.fault = slow
    thread = in_the_middle(hostile, ray.kill_an_actor)
    convert_by_ray(photos, URL, ray.address, *into(hostile))
    thread.join()
    assert hostile.objects[REC].data == expected[".rec"]
    assert sorted(hostile.objects) == EVERYTHING
