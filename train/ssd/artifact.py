"""Models as files: ``model.tar.gz`` as SageMaker's built-in algorithm writes and reads it.

It holds three files: the hyperparameters as JSON text, MXNet's graph, MXNet's arrays. Source:
artifacts of the built-in algorithm, whose files can have other names; see ``mxnet_files``.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from isal import igzip
from isal.isal_zlib import IsalError

from ..channels import split_url
from ..errors import ModelError
from ..files import open_file, replace
from ..service import Service, message_of
from .mxnet_files import Arrays, Symbol, read_arrays, read_symbol, write_arrays, write_symbol

HYPERPARAMETERS = "hyperparams.json"
_SYMBOL = "model_algo_1-symbol.json"
_ARRAYS = "model_algo_1-0000.params"

_MOST_TEXT = 64 << 20
_MOST_ARRAYS = 1 << 30
_MOST_MEMBERS = 10_000
_AROUND = 1 << 20
"""Bytes of an archive before a member, such as its name, and behind the last."""
_WANTED = (".params", "-symbol.json", HYPERPARAMETERS)
_EPOCH = re.compile(r"-(\d+)\.params$")


@dataclass(frozen=True)
class Model:
    """A graph, its arrays, and the hyperparameters of its training, all of them strings; empty
    where they are not known."""

    symbol: Symbol
    arrays: Arrays
    hyperparameters: Mapping[str, str]

    def __repr__(self) -> str:
        weights = sum(array.size for array in self.arrays.values())
        return f"Model(arrays={len(self.arrays)}, weights={weights:,})"


def read_model(path: str | Path, service: Service | None = None) -> Model:
    """A model from a ``model.tar.gz`` (a path or ``s3://…``), the folder of a job or of the model's
    files, or a ``.params`` file with its graph ``…-symbol.json`` beside it. Raises ModelError."""
    symbol, arrays, hyperparameters = _read(path, service)
    if symbol is None:
        raise ModelError(f"{path}: its graph, a file …-symbol.json, is missing; copy it there")
    return Model(symbol, arrays, hyperparameters)


def read_weights(path: str | Path, service: Service | None = None) -> Arrays:
    """The arrays of what ``read_model`` takes; a ``.params`` file needs no graph. Raises
    ModelError."""
    return _read(path, service)[1]


def read_hyperparameters(path: str | Path, service: Service | None = None) -> dict[str, str]:
    """Those in a ``model.tar.gz`` (a path or ``s3://…``), without a look at its arrays; empty where
    it has none. Raises ModelError."""
    with _open(path, service) as file:
        files, _ = _members(file, str(path), (HYPERPARAMETERS,))
    return _hyperparameters(files, str(path))


def write_model(path: Path, model: Model) -> None:
    """Write a ``model.tar.gz``, whole or not at all; the same bytes for the same model."""
    archive = io.BytesIO()
    with (
        igzip.IGzipFile("", "wb", 1, archive, mtime=0) as packed,  # type: ignore[no-untyped-call]
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name, data in _files(model):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    replace(path, archive.getvalue())


def write_files(folder: Path, model: Model) -> None:
    """Write the three files of a model into a folder, the arrays last."""
    for name, data in _files(model):
        replace(folder / name, data)


def _files(model: Model) -> Iterator[tuple[str, bytes]]:
    yield HYPERPARAMETERS, json.dumps(dict(model.hyperparameters), sort_keys=True).encode()
    yield _SYMBOL, write_symbol(model.symbol)
    yield _ARRAYS, write_arrays(model.arrays)


Found = tuple[Symbol | None, Arrays, dict[str, str]]
"""The graph where there is one, the arrays, the hyperparameters."""


def _read(path: str | Path, service: Service | None) -> Found:
    if str(path).startswith("s3://"):
        return _unpack(path, service)
    path = Path(path)
    try:
        if path.is_dir():
            for inside in (path / "output" / "model.tar.gz", path / "model.tar.gz"):
                if inside.is_file():
                    return _read(inside, service)
            return _choose({one.name: _reader(one) for one in path.iterdir()}, str(path))
        if path.suffix == ".params":
            stem = _EPOCH.sub("", path.name).removesuffix(".params")
            files = {path.name: _reader(path)}
            for beside in (f"{stem}-symbol.json", HYPERPARAMETERS):
                if (path.parent / beside).is_file():
                    files[beside] = _reader(path.parent / beside)
            return _choose(files, str(path))
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror or error}; name a job's folder or a model.tar.gz"
        ) from error
    return _unpack(path, service)


def _unpack(path: str | Path, service: Service | None) -> Found:
    with _open(path, service) as file:
        files, others = _members(file, str(path), _WANTED)
    return _choose(files, str(path), others)


def _open(path: str | Path, service: Service | None) -> IO[bytes]:
    if not str(path).startswith("s3://"):
        try:
            return open_file(path)
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from error
    bucket, key = split_url(str(path))
    client = (service or Service()).client("s3")
    try:
        return io.BytesIO(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.ClientError as error:
        raise ModelError(f"{path}: {message_of(error)}") from error


class _Unpacked(igzip.IGzipFile):
    """What a member and its name may take, and no more: a name can have as many bytes as it says,
    and tarfile takes them all."""

    left = _AROUND

    def read(self, size: int | None = -1) -> bytes:
        data = bytes(super().read(size))
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError("the name of a member is too long")
        return data


Files = dict[str, Callable[[int], bytes]]
"""By their names, what reads them; ModelError for more bytes than it is told."""


def _members(file: IO[bytes], name: str, wanted: tuple[str, ...]) -> tuple[Files, list[str]]:
    """The files of a ``model.tar.gz`` with such endings, and the names of the others, read once
    from its start to its end."""
    files: dict[str, bytes] = {}
    others: list[str] = []
    left = _MOST_ARRAYS
    try:
        with (
            _Unpacked(fileobj=file, mode="rb") as unpacked,  # type: ignore[no-untyped-call]
            tarfile.open(fileobj=unpacked, mode="r|") as tar,
        ):
            for number, member in enumerate(tar):
                if number == _MOST_MEMBERS:
                    raise tarfile.ReadError(f"more than {number} members")
                unpacked.left = _AROUND + member.size
                short = os.path.basename(member.name)
                if not member.isfile() or not short.endswith(wanted):
                    others.append(short)
                    continue
                left -= member.size
                most = _MOST_ARRAYS if short.endswith(".params") else _MOST_TEXT
                _demand_size(f"{name}: {short}", member.size, most if left >= 0 else 0)
                files[short] = tar.extractfile(member).read()  # type: ignore[union-attr]
            unpacked.read(_AROUND // 2)  # to the checksum
    except (tarfile.TarError, EOFError, ValueError, zlib.error, IsalError, OSError) as error:  # type: ignore[misc]
        raise ModelError(
            f"{name}: this is no whole model.tar.gz ({error}); name one, or fetch it again"
        ) from error
    return {one: partial(_all_of, data, f"{name}: {one}") for one, data in files.items()}, others


def _all_of(data: bytes, name: str, most: int) -> bytes:
    _demand_size(name, len(data), most)
    return data


def _reader(path: Path) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            _demand_size(str(path), size, most)
            return bytes(file.read(size))

    return read


def _demand_size(name: str, size: int, most: int) -> None:
    if size > most:
        raise ModelError(f"{name}: {size:,} bytes; a file of a model has at most {most:,}")


def _choose(files: Files, name: str, others: Sequence[str] = ()) -> Found:
    """Of several arrays those of the last epoch; hyperparameters can be missing."""
    arrays = sorted(
        (one for one in files if one.endswith(".params")),
        key=lambda one: (int(found[1]) if (found := _EPOCH.search(one)) else -1, one),
    )
    symbols = sorted(one for one in files if one.endswith("-symbol.json"))
    if not arrays:
        found = ", ".join(sorted([*files, *others])[:5]) or "nothing"
        raise ModelError(
            f"{name}: no model of MXNet is in it, no file ….params (it has {found}); give a "
            "model.tar.gz of object detection"
        )
    stem = _EPOCH.sub("", arrays[-1])
    symbol = next((one for one in symbols if one == f"{stem}-symbol.json"), (symbols or [""])[0])
    return (
        read_symbol(files[symbol](_MOST_TEXT), f"{name}: {symbol}") if symbol else None,
        read_arrays(files[arrays[-1]](_MOST_ARRAYS), f"{name}: {arrays[-1]}"),
        _hyperparameters(files, name),
    )


def _hyperparameters(files: Files, name: str) -> dict[str, str]:
    if HYPERPARAMETERS not in files:
        return {}
    try:
        values = json.loads(files[HYPERPARAMETERS](_MOST_TEXT))
        return {str(key): str(value) for key, value in values.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{name}: {HYPERPARAMETERS} is no JSON object; repair it") from error
