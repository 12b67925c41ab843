"""Models as files: what SageMaker's algorithm writes is read, what is written it could read."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.s3server import Blob, S3Server
from train.errors import ModelError
from train.service import Service
from train.ssd.artifact import Model, read_model, read_weights, write_files, write_model
from train.ssd.mxnet_files import write_arrays, write_symbol
from train.ssd.network import build, initial_arrays


@pytest.fixture(scope="module")
def model() -> Model:
    symbol = build("resnet-18", 2, 64)
    arrays = initial_arrays(symbol, 64, np.random.default_rng(1))
    arrays = {name: array for name, array in arrays.items() if array.size < 50_000}
    return Model(symbol, arrays, {"base_network": "resnet-18", "early_stopping": "False"})


def equal(one: Model, other: Model) -> bool:
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        assert array.tobytes() == other.arrays[name].tobytes()
    return (one.symbol, one.hyperparameters) == (other.symbol, other.hyperparameters)


def test_what_is_written_is_read(model: Model, tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "output").mkdir(parents=True)
    path = job / "output" / "model.tar.gz"
    write_model(path, model)
    with tarfile.open(path) as tar:
        assert tar.getnames() == [
            "hyperparams.json", "model_algo_1-symbol.json", "model_algo_1-0000.params"
        ]  # fmt: skip
        tar.extractall(tmp_path / "files", filter="data")
    for place in (path, job, job / "output", tmp_path / "files", str(path)):
        assert equal(read_model(place), model)
    write_model(tmp_path / "again.tar.gz", model)
    assert (tmp_path / "again.tar.gz").read_bytes() == path.read_bytes()
    (tmp_path / "container").mkdir()
    write_files(tmp_path / "container", model)
    assert equal(read_model(tmp_path / "container"), model)


def test_from_s3(model: Model, tmp_path: Path) -> None:
    write_model(tmp_path / "model.tar.gz", model)
    server = S3Server()
    try:
        server.objects["models/voc/output/model.tar.gz"] = Blob(
            (tmp_path / "model.tar.gz").read_bytes(), "0"
        )
        service = Service("us-east-1", server.url)
        url = "s3://bucket/models/voc/output/model.tar.gz"
        assert equal(read_model(url, service), model)
        with pytest.raises(ModelError, match=r"s3://bucket/none/model\.tar\.gz: "):
            read_model("s3://bucket/none/model.tar.gz", service)
    finally:
        server.close()


def test_names_of_other_programs(model: Model, tmp_path: Path) -> None:
    """Of two epochs the later; ``./`` before the names; a graph that MXNet's deploy.py renamed."""
    zeros = {name: np.zeros_like(array) for name, array in model.arrays.items()}
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data in (
            ("./x-0009.params", write_arrays(zeros)),
            ("./x-0010.params", write_arrays(model.arrays)),
            ("./x-symbol.json", write_symbol(model.symbol)),
            ("./README", b"hello"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    found = read_model(path)
    assert equal(found, Model(model.symbol, model.arrays, {}))
    (tmp_path / "deploy_x-0001.params").write_bytes(write_arrays(model.arrays))
    assert read_weights(tmp_path / "deploy_x-0001.params").keys() == model.arrays.keys()
    with pytest.raises(ModelError, match=r"its graph, a file …-symbol\.json, is missing"):
        read_model(tmp_path / "deploy_x-0001.params")
    (tmp_path / "deploy_x-symbol.json").write_bytes(write_symbol(model.symbol))
    assert equal(read_model(tmp_path / "deploy_x-0001.params"), found)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def swap(files: dict[str, bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with tarfile.open(path, "w:gz") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    return write


def grow(path: Path) -> None:
    """A header that tells of more than any model has."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("x-0000.params")
        member.size = 5 << 30
        tar.addfile(member, None)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"this is no whole model\.tar\.gz"),
        (flip, r"this is no whole model\.tar\.gz"),
        (lambda path: path.write_bytes(b""), r"this is no whole model\.tar\.gz"),
        (lambda path: path.write_bytes(b"PK\3\4" * 100), r"this is no whole model\.tar\.gz"),
        (lambda path: path.unlink(), "No such file"),
        (swap({"saved_model.pb": b"x"}), r"no model of MXNet is in it.*it has saved_model\.pb"),
        (swap({"x-0000.params": b"x", "x-symbol.json": b"{}"}), r"x-symbol\.json"),
        (swap({}), "it has nothing"),
        (grow, "5,368,709,120 bytes; a file of a model has at most"),
    ],
)
def test_what_is_no_model(
    model: Model, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "model.tar.gz"
    write_model(path, model)
    damage(path)
    with pytest.raises(ModelError, match=message) as caught:
        read_model(path)
    assert str(path) in str(caught.value)


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (member("x", 1 << 40, tarfile.GNUTYPE_LONGNAME), "the name of a member is too long"),
        (member("x", 1 << 40, tarfile.XHDTYPE), "the name of a member is too long"),
        (member("m.params", 0) * 10_001, "more than 10000 members"),
        (member("x", 25, tarfile.XHDTYPE) + b"25 GNU.sparse.map=1,2,x\n\n".ljust(512, b"\0")
         + member("m.params", 9), "invalid literal"),
    ],
    ids=["name", "attributes", "members", "sparse"],
)  # fmt: skip
def test_archives_that_would_take_all_memory(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(gzip.compress(content + bytes(8 << 20), 1))
    tracemalloc.start()
    with pytest.raises(ModelError, match=f"{path}: this is no whole model.tar.gz .{why}"):
        read_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_hyperparameters_that_are_none(model: Model, tmp_path: Path) -> None:
    write_files(tmp_path, model)
    for text in (b"[1]", b"{", b"[" * 100_000, json.dumps("x").encode()):
        (tmp_path / "hyperparams.json").write_bytes(text)
        with pytest.raises(ModelError, match=r"hyperparams\.json is no JSON object"):
            read_model(tmp_path)
