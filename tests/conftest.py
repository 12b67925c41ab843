from __future__ import annotations

import json
import multiprocessing.process
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from recpack.demo.s3_server import loopback_server
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import list_objects
from recpack.storage.s3.uploads import OpenUpload, open_uploads
from recpack.workers import fork
from tests.support.browser import Page, browse
from tests.support.clusters import Dask, Ray, dask_cluster
from tests.support.devkits import make_voc
from tests.support.s3server import S3Server

# it keeps the folder of its first import, to which joblib's processes go: one of a test is removed
assert multiprocessing.process

# for every process of the suite, so that nothing reaches the accounts of whoever runs it
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test:tester",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "OMP_WAIT_POLICY": "PASSIVE",  # OpenMP's threads spin, and several tests share the cores
}
for _name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
    os.environ.pop(_name, None)

# a shell's background job ignores Ctrl-C, and so would every command that is interrupted here
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "recpack",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("recpack")


class Oracle:
    """MXNet in its own environment; see tests/oracle.py."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, os.fspath(Path(__file__).with_name("support") / "oracle.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if os.environ.get("CI") else None,
            text=True,
        )
        assert self._answer() == {}, "MXNet does not start"

    def __call__(self, call: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        request = {"call": call, "arguments": arguments}
        self._process.stdin.write(json.dumps(request, default=os.fspath) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "MXNet's process ended"
        return json.loads(line)

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process.wait()


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    python = os.environ.get("RECPACK_MXNET_PYTHON")
    if not python:
        pytest.skip("no MXNet here: make test sets RECPACK_MXNET_PYTHON")
    oracle = Oracle(python)
    yield oracle
    oracle.close()


@pytest.fixture(scope="session")
def devkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean devkit of two years; read only."""
    return make_voc(tmp_path_factory.mktemp("clean") / "VOCdevkit", {"2007": 70, "2012": 50})


@pytest.fixture(autouse=True, scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is left in the home of whoever runs the tests."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = os.fspath(tmp_path_factory.mktemp("caches"))
    yield
    del os.environ["XDG_CACHE_HOME"]
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(autouse=True)
def no_forked_workers_left() -> Iterator[None]:
    """They are copies of this process, and hold open what it has: a server that is told of the end
    by its closed input would never hear of it."""
    yield
    fork.kill()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Page]:
    with browse(tmp_path / "profile") as page:
        yield page


@pytest.fixture
def hostile() -> Iterator[S3Server]:
    """The suite's own S3 server; whatever a test did to it, no upload may be left open."""
    server = S3Server()
    yield server
    server.close()
    assert not server.uploads
    assert not [key for key in server.objects if key.endswith(".upload.json")]


@dataclass(frozen=True)
class Store:
    """A bucket of its own in a real server."""

    kind: str
    url: str
    bucket: str

    @property
    def access(self) -> S3Client:
        return S3Client(self.url, patience=20)

    def at(self, key: str) -> Location:
        return Location(self.bucket, key)

    def listing(self) -> list[str]:
        return sorted(key for key, _ in list_objects(self.access, self.at(""), deep=True))

    def open_uploads(self) -> list[OpenUpload]:
        return list(open_uploads(self.access, self.at("")))


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with loopback_server() as url:
        yield url


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = os.environ.get("RECPACK_SWIFT_PYTHON")
    if not python:
        pytest.skip("no Swift here: make test sets RECPACK_SWIFT_PYTHON")
    folder = tmp_path_factory.mktemp("swift") / "cluster"
    script = Path(__file__).with_name("support") / "swift_server.py"
    server = subprocess.Popen(
        [python, os.fspath(script), os.fspath(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url, "Swift does not start"
    yield url
    server.stdin.close()
    server.wait()
    server.stdout.close()


_buckets = count(1)


@pytest.fixture(params=["moto", "swift"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Two independent S3 servers over HTTP, one after the other; no upload may be left open."""
    url = request.getfixturevalue(request.param)
    store = Store(request.param, url, f"bucket-{next(_buckets)}")
    store.access.call("create_bucket", Bucket=store.bucket)
    yield store
    assert store.open_uploads() == []
    assert [key for key in store.listing() if key.endswith(".upload.json")] == []


# ---- clusters


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    """To be harmed."""
    with dask_cluster(tmp_path / "dask") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """Of all who do it no harm."""
    with dask_cluster(tmp_path_factory.mktemp("healthy") / "dask") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    with Ray(tmp_path_factory.mktemp("ray") / "log").running() as cluster:
        yield cluster
