"""MXNet's files of arrays and graphs: golden bytes, MXNet itself, and files that are none."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Oracle
from train.errors import ModelError
from train.ssd.mxnet_files import Arrays, read_arrays, read_symbol, write_arrays, write_symbol
from train.ssd.network import build
from train.ssd.symbols import Node, Symbol

VALUES = np.array([[1, 0, 3], [4, 5, 7]])
DTYPES = ["<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?"]
SHAPES = {  # the header before the context, by version
    "V0": "02000000 02000000 03000000",
    "V1": "c8fa93f9 02000000 0200000000000000 0300000000000000",
    "V2": "c9fa93f9 00000000 02000000 0200000000000000 0300000000000000",
    "V3": "cafa93f9 00000000 02000000 0200000000000000 0300000000000000",
}
CPU = "01000000 00000000"
GPU = "02000000 03000000"
LIST = "1201000000000000 0000000000000000"
ONE = "0100000000000000"
NAME = "0500000000000000 6172673a77"  # arg:w


def packed(*parts: str | bytes) -> bytes:
    return b"".join(one if isinstance(one, bytes) else bytes.fromhex(one) for one in parts)


@pytest.mark.parametrize("context", [CPU, GPU])
@pytest.mark.parametrize("code", range(len(DTYPES)))
@pytest.mark.parametrize("version", SHAPES)
def test_arrays_of_every_version_and_dtype(version: str, code: int, context: str) -> None:
    values = VALUES.astype(DTYPES[code])
    data = packed(
        LIST, ONE, SHAPES[version], context, struct.pack("<i", code), values.tobytes(), ONE, NAME
    )
    arrays = read_arrays(data, "m.params")
    assert list(arrays) == ["arg:w"]
    assert arrays["arg:w"].dtype == np.dtype(DTYPES[code])
    assert np.array_equal(arrays["arg:w"], values)
    assert not arrays["arg:w"].flags.writeable
    if version == "V2" and context == CPU:
        assert write_arrays({"arg:w": values}) == data
        assert write_arrays({"arg:w": values.astype(values.dtype.newbyteorder(">"))}) == data


def test_a_scalar_exists_in_the_newest_version_alone() -> None:
    rest = packed(CPU, "00000000", struct.pack("<f", 2.5), ONE, NAME)
    data = packed(LIST, ONE, "cafa93f9 00000000 00000000", rest)
    assert read_arrays(data, "m.params")["arg:w"].shape == ()
    assert read_arrays(data, "m.params")["arg:w"] == 2.5
    with pytest.raises(ModelError, match="0 dimensions"):
        read_arrays(packed(LIST, ONE, "c9fa93f9 00000000 00000000", rest), "m.params")


def one_array(header: str | bytes, rest: str | bytes = "", count: str = ONE) -> bytes:
    return packed(LIST, count, header, rest)


WHOLE = packed(LIST, ONE, SHAPES["V2"], CPU, "00000000", bytes(24), ONE, NAME)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "24 bytes should follow and 0 do"),
        (b"PK\x03\x04" + bytes(100), "no file of MXNet arrays: it begins with 0x4034b50"),
        (packed(LIST, "ffffffffffffffff"), "18446744073709551615 arrays"),
        (packed(LIST, "0000010000000000"), "bytes should follow"),
        (one_array("c9fa93f9 01000000"), "array 0 of 1 is row_sparse; only dense"),
        (one_array("cafa93f9 02000000"), "array 0 of 1 is csr; only dense"),
        (one_array("c9fa93f9 ffffffff"), "unknown storage type -1"),
        (one_array("c9fa93f9 00000000 ffffffff"), "-1 dimensions"),
        (one_array("c8fa93f9 09000000"), "9 dimensions"),
        (one_array("00000000"), "0 dimensions"),
        (one_array("ffffff7f"), "2147483647 dimensions"),
        (one_array("c8fa93f9 01000000 ffffffffffffffff"), r"the shape \(-1,\)"),
        (one_array("c8fa93f9 01000000 0000000000000000"), r"the shape \(0,\)"),
        (one_array("01000000 00000000"), r"the shape \(0,\)"),
        (
            one_array("c8fa93f9 02000000 ffffffffffffff7f ffffffffffffff7f", CPU + "01000000"),
            f"{8 * (2**63 - 1) ** 2} bytes should follow and 0 do",
        ),
        (one_array(SHAPES["V2"], CPU + "08000000"), "unknown dtype 8"),
        (one_array(SHAPES["V2"], CPU + "0c000000"), "unknown dtype 12"),
        (one_array(SHAPES["V2"], CPU + "ffffffff"), "unknown dtype -1"),
        (WHOLE[:-21] + bytes(8), "1 arrays and 0 names"),
        (WHOLE[:-13] + packed("ffffffffffffffff") + b"arg:w", "bytes should follow and 5 do"),
        (WHOLE[:-1] + b"\xff", "is not UTF-8"),
        (WHOLE + b"!", "1 bytes follow the last name"),
        (
            packed(LIST, "0200000000000000", WHOLE[24:-21] * 2, "0200000000000000", NAME * 2),
            "two arrays are named 'arg:w'",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_files_that_are_none_are_named(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        read_arrays(data, "m.params")
    assert str(error.value).startswith("m.params: ")


def test_every_file_that_is_cut_short_is_refused() -> None:
    for size in range(len(WHOLE)):
        with pytest.raises(ModelError, match=r"m\.params: "):
            read_arrays(WHOLE[:size], "m.params")


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_file_is_read_or_named_with_little_memory(draw: st.DataObject) -> None:
    names = st.text(max_size=9)
    arrays: Arrays = {
        name: np.full(draw.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)), 1.5)
        for name in draw.draw(st.lists(names, unique=True, max_size=4))
    }
    data = bytearray(write_arrays(arrays))
    whole = read_arrays(bytes(data), "m")
    assert list(whole) == list(arrays)
    assert all(np.array_equal(whole[name], array) for name, array in arrays.items())
    for place in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        data[place] = draw.draw(st.integers(0, 255))
    tracemalloc.start()
    try:
        read_arrays(bytes(data), "m")
    except ModelError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20_000 + 10 * len(data)


def test_many_empty_arrays_are_refused() -> None:
    data = packed(LIST, struct.pack("<Q", 1 << 17), bytes(4) * (1 << 17))
    with pytest.raises(ModelError, match="131072 arrays; a model has fewer"):
        read_arrays(data, "m.params")


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, "<u2"), np.zeros(3, complex), np.zeros((0, 2), "<f4"), np.float32(1)],
    ids=str,
)
def test_what_mxnet_has_not_is_not_written(array: Any) -> None:
    with pytest.raises(ModelError, match="arg:w: no array of"):
        write_arrays({"arg:w": np.asarray(array)})


def test_mxnet_reads_and_writes_the_same_bytes(oracle: Oracle, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        f"arg:{code}": random.uniform(0, 99, (2, 3, code + 1)).astype(dtype)
        for code, dtype in enumerate(DTYPES)
    }
    data = write_arrays(arrays)
    (tmp_path / "ours.params").write_bytes(data)
    names = oracle("ssd_arrays", tmp_path / "ours.params", tmp_path / "read.npz")
    assert names == list(arrays)
    theirs = np.load(tmp_path / "read.npz")
    for place, array in enumerate(arrays.values()):
        assert theirs[f"arr_{place}"].dtype == array.dtype
        assert np.array_equal(theirs[f"arr_{place}"], array)
    np.savez(tmp_path / "question.npz", **arrays)
    oracle("ssd_save", tmp_path / "theirs.params", tmp_path / "question.npz")
    assert (tmp_path / "theirs.params").read_bytes() == data


# ---- graphs


def graph(*nodes: dict[str, Any], heads: Any = None, **more: Any) -> bytes:
    heads = [[len(nodes) - 1, 0, 0]] if heads is None else heads
    return json.dumps({"nodes": nodes, "arg_nodes": [], "heads": heads, **more}).encode()


DATA = {"op": "null", "name": "data", "inputs": []}


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
@pytest.mark.parametrize("size", [2, 3])
def test_old_and_new_spellings(key: str, size: int) -> None:
    relu = {
        "op": "Activation",
        "name": "r",
        "inputs": [[0, 0, 0][:size]],
        key: {"act_type": "relu"},
    }
    data = graph(DATA, relu | {"backward_source_id": -1}, heads=[[1, 0, 0][:size]])
    assert read_symbol(data, "s").nodes == (
        Node("null", "data", {}),
        Node("Activation", "r", {"act_type": "relu"}, ((0, 0),)),
    )


def test_the_newest_spelling_wins() -> None:
    texts = {"param": {"a": "1", "b": "1", "c": "1"}, "attr": {"b": "2", "c": "2"}}
    symbol = read_symbol(graph(DATA | texts | {"attrs": {"c": "3"}}), "s")
    assert symbol.nodes[0].attrs == {"a": "1", "b": "2", "c": "3"}


OLD = graph(
    DATA,
    {"op": "null", "name": "w", "inputs": [], "attr": {"lr_mult": "3"}},
    {"op": "null", "name": "c_bias", "inputs": []},
    {
        "op": "Convolution", "name": "c", "inputs": [[0, 0], [1, 0], [2, 0]],
        "param": {"kernel": "(3, 3)", "num_filter": "4"},
        "attr": {"bias_lr_mult": "2", "weight_wd_mult": "0.5", "ctx_group": "a"},
    },
    {"op": "null", "name": "b_gamma", "inputs": []},
    {"op": "null", "name": "b_beta", "inputs": []},
    {
        "op": "BatchNorm", "name": "b", "inputs": [[3, 0], [4, 0], [5, 0]],
        "param": {"eps": "0.001", "fix_gamma": "True"},
    },
    {"op": "Activation", "name": "r", "inputs": [[6, 0]], "param": {"act_type": "relu"}},
)  # fmt: skip


def test_graphs_from_before_version_0_9_are_upgraded_as_mxnet_does(
    oracle: Oracle, tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_bytes(OLD)
    arguments, auxiliary, _, text = oracle("ssd_describe", tmp_path / "old.json")
    symbol = read_symbol(OLD, "old.json")
    assert symbol.arguments() == arguments == ["data", "w", "c_bias", "b_gamma", "b_beta"]
    assert symbol.auxiliary() == auxiliary == ["b_moving_mean", "b_moving_var"]
    theirs = read_symbol(text.encode(), "theirs")
    for ours, other in zip(symbol.nodes, theirs.nodes, strict=True):
        attrs = dict(other.attrs)
        attrs.pop("__init__", None)  # what an initializer does by the name as well
        assert ours == other._replace(attrs=attrs)
    assert symbol.heads == theirs.heads
    (tmp_path / "new.json").write_bytes(write_symbol(symbol))
    assert oracle("ssd_describe", tmp_path / "new.json")[:2] == [arguments, auxiliary]
    assert read_symbol(write_symbol(symbol), "new.json") == symbol


def test_written_graphs_are_read_the_same_by_mxnet(oracle: Oracle, tmp_path: Path) -> None:
    symbol = build("vgg-16", 3, 300)
    (tmp_path / "s.json").write_bytes(write_symbol(symbol))
    arguments, auxiliary, outputs, text = oracle("ssd_describe", tmp_path / "s.json")
    assert symbol.arguments() == arguments
    assert symbol.auxiliary() == auxiliary == []
    assert outputs == ["cls_prob_output", "loc_loss_output", "cls_label_output", "det_out_output"]
    assert read_symbol(text.encode(), "theirs") == symbol


def test_nodes_stand_in_mxnets_order_and_what_no_head_needs_is_dropped() -> None:
    data = graph(
        {"op": "_copy", "name": "c", "inputs": [[2, 0, 0]]},
        {"op": "null", "name": "unused", "inputs": []},
        DATA,
        heads=[[0, 0, 0]],
    )
    symbol = read_symbol(data, "s")
    assert [node.name for node in symbol.nodes] == ["data", "c"]
    assert symbol.nodes[1].inputs == ((0, 0),)
    assert symbol.heads == ((1, 0),)


COPY = {"op": "_copy", "name": "c"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no graph of MXNet"),
        (b"\x1f\x8b\x08" + bytes(40), "no graph of MXNet"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `nodes`"),
        (b'{"nodes": [{"op": "null"}]', "no graph of MXNet"),
        (graph({"op": "null", "name": 3, "inputs": []}), r"Expected `str`, got `int` - at `\$.nod"),
        (graph(DATA | {"attrs": {"a": 1}}), "Expected `str`, got `int`"),
        (graph(heads=[]), "a graph without heads"),
        (graph(DATA, heads=[[1, 0, 0]]), "no node 1; there are 1"),
        (graph(DATA, heads=[[-1, 0, 0]]), "no node -1"),
        (graph(DATA, heads=[[0]]), r"\[0\] stands for an output of a node"),
        (graph(DATA, heads=[[0, -1, 0]]), "stands for an output of a node"),
        (graph(DATA, COPY | {"inputs": [[7, 0, 0]]}), "no node 7; there are 2"),
        (graph(COPY | {"inputs": [[0, 0, 0]]}), r"node 0 \(c\) is its own input"),
        (
            graph(COPY | {"inputs": [[1, 0, 0]]}, COPY | {"inputs": [[0, 0, 0]]}),
            "is its own input",
        ),
        (graph(DATA, DATA, heads=[[0, 0, 0], [1, 0, 0]]), "2 variables are named 'data'"),
        (graph(DATA, attrs={"mxnet_version": ["int", "1.2"]}), "Expected `int`, got `str`"),
        (b'{"nodes": ' + b"[" * 100_000, "no graph of MXNet"),
        (b'{"x": ' + b"[" * 100_000, "no graph of MXNet"),
        (graph(DATA, heads=[[10**40, 0, 0]]), "there is no node 1000"),
        (b" " * (4 << 20) + b"{}", "4194306 bytes; no graph has more than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_graphs_that_are_none_are_named(data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        read_symbol(data, "m-symbol.json")
    assert str(error.value).startswith("m-symbol.json: ")


def test_a_long_chain_needs_no_deep_stack() -> None:
    nodes = [DATA, *({**COPY, "inputs": [[place, 0, 0]]} for place in range(10_000))]
    symbol = read_symbol(graph(*nodes), "s")
    assert len(symbol.nodes) == 10_001


GOOD = write_symbol(build("resnet-18", 1, 64))


CHANGES = st.tuples(st.integers(0, len(GOOD) - 1), st.sampled_from(b'09[]{},:"-ex'))


@given(st.lists(CHANGES, max_size=3))
def test_a_damaged_graph_is_read_or_named(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, byte in changes:
        data[place] = byte
    try:
        symbol = read_symbol(bytes(data), "m-symbol.json")
    except ModelError:
        return
    assert isinstance(symbol, Symbol)
    assert read_symbol(write_symbol(symbol), "again") == symbol
