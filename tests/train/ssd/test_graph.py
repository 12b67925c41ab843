"""Graphs as modules: what is computed, in which precision, and graphs that are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.errors import ModelError
from train.ssd import multibox
from train.ssd.graph import Graph, Predictions
from train.ssd.losses import losses
from train.ssd.mxnet_files import Arrays, read_arrays, read_symbol, write_arrays, write_symbol
from train.ssd.network import build, initial_arrays, mean_of
from train.ssd.symbols import Node, Symbol, in_order

SYMBOL = build("resnet-18", 3, 64)
LABELS = torch.tensor([[[0, 0.1, 0.1, 0.6, 0.5]], [[2, 0.3, 0.2, 0.8, 0.9]]])


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return initial_arrays(SYMBOL, 64, np.random.default_rng(0))


@pytest.fixture
def graph(arrays: Arrays) -> Graph:
    graph = Graph(SYMBOL, arrays)
    graph.eval()
    return graph


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(1)) * 255


def changed(symbol: Symbol, name: str, /, **changes: object) -> Symbol:
    """The graph with other fields of one node."""
    nodes = [node._replace(**changes) if node.name == name else node for node in symbol.nodes]
    assert nodes != list(symbol.nodes)
    return replace(symbol, nodes=tuple(nodes))


def deployed(symbol: Symbol) -> Symbol:
    """Without the losses, as mxnet-ssd's ``deploy.py`` leaves it."""
    places = {node.name: place for place, node in enumerate(symbol.nodes)}
    nodes = list(symbol.nodes)
    softmax = nodes[places["cls_prob"]]
    nodes[places["cls_prob"]] = Node(
        "SoftmaxActivation", softmax.name, {"mode": "channel"}, softmax.inputs[:1]
    )
    return in_order(nodes, [(places["detection"], 0)])


def test_a_graph_gives_its_arrays_back_bit_for_bit(graph: Graph, arrays: Arrays) -> None:
    extra: Arrays = {"arg:fc1_weight": np.ones((2, 2), np.float64)}
    given = dict(reversed((arrays | extra).items()))
    found = Graph(SYMBOL, read_arrays(write_arrays(given), "m")).arrays()
    assert list(found) == list(given)
    assert write_arrays(found) == write_arrays(given)
    assert write_arrays(graph.arrays()) == write_arrays(arrays)


def test_other_dtypes_become_float32(arrays: Arrays) -> None:
    halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    found = Graph(SYMBOL, halves).arrays()
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert np.array_equal(found["arg:conv0_weight"], halves["arg:conv0_weight"])


def test_a_fixed_gamma_is_one_and_not_learnt(arrays: Arrays, images: torch.Tensor) -> None:
    other = arrays | {"arg:bn_data_gamma": np.full(3, 7, np.float32)}
    one, two = Graph(SYMBOL, arrays).eval(), Graph(SYMBOL, other).eval()
    with torch.no_grad():
        assert torch.equal(one(images).logits, two(images).logits)
    assert two.arrays()["arg:bn_data_gamma"].tolist() == [1, 1, 1]
    assert "bn_data_gamma" not in one.named()
    assert "bn_data_beta" in one.named()


def test_parameters_have_mxnets_names_and_multipliers(graph: Graph) -> None:
    named = graph.named()
    inputs = {"data", "label", "bn_data_gamma"}
    assert list(named) == [name for name in SYMBOL.arguments() if name not in inputs]
    assert {id(one) for one in named.values()} == {id(one) for one in graph.parameters()}
    multipliers = graph.multipliers()
    assert multipliers.keys() == named.keys()
    assert multipliers["conv0_weight"] == (1, 1)
    assert multipliers["bn0_gamma"] == (1, 1)
    assert multipliers["bn0_beta"] == (1, 0)
    assert multipliers["_plus5_cls_pred_conv_bias"] == (2, 0)
    large = build("vgg-16", 1, 300)
    vgg = Graph(large, initial_arrays(large, 300, np.random.default_rng(0)))
    assert vgg.multipliers()["relu4_3_scale"] == (1, 0.1)
    assert vgg.multipliers()["fc7_bias"] == (1, 0)


def test_a_graph_without_losses_predicts_and_learns_the_same(
    graph: Graph, arrays: Arrays, images: torch.Tensor
) -> None:
    symbol = deployed(SYMBOL)
    assert "label" not in symbol.arguments()
    other = Graph(symbol, arrays).eval()
    assert other.num_classes == graph.num_classes == 3
    one, two = graph(images), other(images)
    for ours, theirs in zip(one, two, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(graph.detect(one), other.detect(two))
    assert graph.losses(one, LABELS).total == other.losses(two, LABELS).total > 0


def test_losses_are_those_of_the_graphs_attributes(graph: Graph, images: torch.Tensor) -> None:
    predictions = graph(images)
    targets = multibox.target(
        predictions.anchors, LABELS, predictions.logits.detach(), negative_mining_ratio=3
    )
    assert graph.losses(predictions, LABELS) == losses(
        predictions.logits, predictions.locations, targets
    )
    attrs = dict(next(node.attrs for node in SYMBOL.nodes if node.name == "multibox_target"))
    attrs["overlap_threshold"] = "0.1"
    other = Graph(changed(SYMBOL, "multibox_target", attrs=attrs), graph.arrays()).eval()
    assert other.losses(other(images), LABELS).valid > graph.losses(predictions, LABELS).valid


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("cls_prob", {"normalization": "batch"}),
        ("cls_prob", {"use_ignore": "False"}),
        ("cls_prob", {"grad_scale": "2"}),
        ("loc_loss_", {"scalar": "3"}),
        ("multibox_target", {"ignore_label": "-2"}),
    ],
)
def test_other_losses_are_refused_and_their_graphs_detect(
    arrays: Arrays, images: torch.Tensor, name: str, attrs: dict[str, str]
) -> None:
    graph = Graph(attributes(name, **attrs), arrays).eval()
    predictions = graph(images)
    assert len(graph.detect(predictions)) == 2
    with pytest.raises(ModelError, match=r"'(cls_prob|loc_loss_)' .*can't be continued here"):
        graph.losses(predictions, LABELS)


def test_detections_are_those_of_the_graphs_attributes(graph: Graph, images: torch.Tensor) -> None:
    with torch.no_grad():
        predictions = graph(images)
        found = graph.detect(predictions)
        strict = graph.detect(predictions, nms_threshold=0.1)
    expected = multibox.detection(
        predictions.logits.softmax(1), predictions.locations, predictions.anchors,
        nms_threshold=0.45, nms_topk=400,
    )  # fmt: skip
    assert torch.equal(found, expected)
    assert 0 < (strict[..., 0] >= 0).sum() < (found[..., 0] >= 0).sum()


def test_nothing_of_the_losses_is_computed(
    graph: Graph, arrays: Arrays, images: torch.Tensor
) -> None:
    odd = changed(SYMBOL, "loc_loss_", op="never heard of")
    assert torch.equal(Graph(odd, arrays).eval()(images).logits, graph(images).logits)


def test_channels_last_and_autocast_change_no_meaning(graph: Graph, images: torch.Tensor) -> None:
    with torch.no_grad():
        before = graph(images)
        graph.to(memory_format=torch.channels_last)
        after = graph(images.contiguous(memory_format=torch.channels_last))
        with torch.autocast("cpu", torch.bfloat16):
            half = graph(images)
    assert torch.equal(before.anchors, after.anchors)
    for one, two, three in zip(before[:2], after[:2], half[:2], strict=True):
        assert torch.allclose(one, two, atol=1e-5 * float(one.abs().max()))
        assert three.dtype == torch.float32
        assert 0 < (one - three).abs().max() < 0.1 * one.abs().max()
    assert graph.detect(half).dtype == torch.float32


def test_anchors_are_made_once_for_a_size(
    graph: Graph, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.inference_mode():
        first = graph(images)
    monkeypatch.setattr(multibox, "prior", None)
    graph.train()
    again = graph(images)
    assert again.anchors is first.anchors
    graph.losses(again, LABELS).total.backward()
    monkeypatch.undo()
    assert graph(images[..., :48, :48]).anchors.shape[1] < first.anchors.shape[1]


@pytest.mark.slow
def test_the_compiler_takes_it_whole_and_once(graph: Graph, images: torch.Tensor) -> None:
    taken = []

    def backend(module: Callable[..., object], _: object) -> Callable[..., object]:
        taken.append(module)
        return module

    torch._dynamo.reset()
    compiled = torch.compile(graph.train(), backend=backend, fullgraph=True)
    found = [compiled(images) for _ in range(2)]
    assert len(taken) == 1
    assert torch.equal(found[1].anchors, graph(images).anchors)
    assert torch.allclose(found[1].logits, graph(images).logits, rtol=1e-3)


def test_training_moves_the_means_and_detection_does_not(
    graph: Graph, images: torch.Tensor
) -> None:
    before = graph.arrays()
    graph(images)
    assert write_arrays(graph.arrays()) == write_arrays(before)
    graph.train()
    graph(images)
    after = graph.arrays()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {f"aux:{name}" for name in SYMBOL.auxiliary()}


def test_images_means(arrays: Arrays) -> None:
    assert mean_of(SYMBOL, arrays) == (0, 0, 0)
    subtracted = arrays | {"aux:bn_data_moving_mean": np.array([3, -2, 1], np.float32)}
    assert mean_of(SYMBOL, subtracted) == (123, 117, 104)
    large = build("vgg-16", 1, 300)
    assert mean_of(large, {}) == (123, 117, 104)


def test_images_too_small_for_a_graph_are_named() -> None:
    with pytest.raises(ModelError, match=r"multi_feat_4_conv_3x3_conv.*image is too small"):
        initial_arrays(build("vgg-16", 1, 300), 100, np.random.default_rng(0))
    for side in (32, 64, 100, 256, 300, 512, 1024):
        symbol = build("vgg-16", 1, side)
        initial_arrays(symbol, side, np.random.default_rng(0))


def test_networks_that_are_none_are_named() -> None:
    with pytest.raises(ModelError, match="'vgg16'; one of vgg-16, resnet-50, resnet-18"):
        build("vgg16", 1, 300)


# ---- graphs that are none


def without(arrays: Mapping[str, object], name: str) -> Arrays:
    return {key: array for key, array in arrays.items() if key != name}  # type: ignore[misc]


def attributes(name: str, **attrs: str) -> Symbol:
    node = next(node for node in SYMBOL.nodes if node.name == name)
    return changed(SYMBOL, name, attrs={**node.attrs, **attrs})


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        (
            changed(SYMBOL, "relu0", op="LeakyReLU"),
            "'relu0': the operator 'LeakyReLU' is not known",
        ),
        (changed(SYMBOL, "detection", op="_copy"), "no node MultiBoxDetection"),
        (changed(SYMBOL, "loc_loss_", op="_contrib_MultiBoxDetection"), "it has 2 nodes"),
        (changed(SYMBOL, "cls_prob", op="_copy"), "'cls_prob' gives no probabilities"),
        (changed(SYMBOL, "_plus5_anchors", op="_copy"), "_plus5_anchors.*come from MultiBoxPrior"),
        (changed(SYMBOL, "reshape0", op="_copy", attrs={}), "'multibox_cls_pred'.*don't fit"),
        (changed(SYMBOL, "data", name="image"), "predictions need no variable 'data'"),
        (attributes("relu0", act_type="gelu"), r"'relu0' \(Activation\): act_type is 'gelu'"),
        (attributes("conv0", layout="NHWC"), "layout is 'NHWC'"),
        (attributes("conv0", pad="(9, 9)"), r"pad is '\(9, 9\)'"),
        (attributes("conv0", pad="(3, 3, 3)"), "pad is"),
        (attributes("conv0", kernel="(7.5, 7)"), r"kernel is '\(7.5, 7\)'"),
        (attributes("conv0", kernel="()"), r"kernel is '\(\)'"),
        (attributes("conv0", stride="(0, 1)"), "stride is"),
        (attributes("conv0", stride="(nan, 1)"), "stride is"),
        (attributes("conv0", num_group="2"), "don't fit together"),
        (changed(SYMBOL, "concat0", inputs=()), "no graph of an SSD: an image's predictions"),
        (attributes("conv0", num_filter="-1"), "num_filter is '-1'"),
        (attributes("conv0", no_bias="maybe"), "no_bias is 'maybe'"),
        (attributes("bn0", axis="3"), "axis is '3'"),
        (attributes("bn0", eps="inf"), "eps is 'inf'"),
        (attributes("bn0", eps="-1"), "eps is '-1'"),
        (attributes("bn0", momentum="2"), "momentum is '2'"),
        (attributes("pooling0", pool_type="lp"), "pool_type is 'lp'"),
        (attributes("pooling0", pooling_convention="same"), "pooling_convention is 'same'"),
        (attributes("reshape0", shape="(0, -1, 8)"), "no graph of an SSD: an image's predictions"),
        (attributes("reshape0", shape="(0, -1, 5)"), "'reshape0'.* inputs don't fit together"),
        (attributes("reshape0", shape="(2, -1, 4)"), "shape is"),
        (attributes("pooling0", stride="(9, 9)", pooling_convention="full"), "stride is"),
        (
            changed(SYMBOL, "_plus7", inputs=((0, 0), (8, 0))),
            "'_plus7' .*don't fit together",
        ),
        (changed(SYMBOL, "relu0", inputs=((1, 0), (1, 0))), "'relu0' .*don't fit together"),
        (attributes("detection", background_id="1"), "background_id is '1'"),
        (attributes("detection", keep_topk="3"), "keep_topk is '3'"),
        (attributes("detection", variances="(0.1, 0.1)"), "variances is"),
        (attributes("_plus5_anchors", sizes="(0.1, 0.2, 0.3)"), "no graph of an SSD: an image's"),
        (attributes("_plus5_anchors", ratios="1e999"), "ratios is"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_graphs_that_are_no_ssd_are_named(arrays: Arrays, symbol: Symbol, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Graph(symbol, arrays)


def test_arrays_that_dont_fit_are_named(arrays: Arrays) -> None:
    with pytest.raises(ModelError, match="arg:bn0_beta: the graph needs this array"):
        Graph(SYMBOL, without(arrays, "arg:bn0_beta"))
    with pytest.raises(ModelError, match="aux:bn0_moving_var: the graph needs this array"):
        Graph(SYMBOL, without(arrays, "aux:bn0_moving_var"))
    with pytest.raises(ModelError, match=r"arg:bn0_beta: its shape is \(3,\), not \(64,\)"):
        Graph(SYMBOL, arrays | {"arg:bn0_beta": np.zeros(3, np.float32)})
    more = build("resnet-18", 4, 64)
    with pytest.raises(ModelError, match=r"_plus5_cls_pred_conv_weight: its shape is \(16, 256"):
        Graph(more, arrays)


def test_a_second_output_is_refused(arrays: Arrays) -> None:
    node = next(node for node in SYMBOL.nodes if node.name == "relu0")
    second = changed(SYMBOL, "relu0", inputs=((node.inputs[0][0], 1),))
    with pytest.raises(ModelError, match="'relu0' takes a second output"):
        Graph(second, arrays)


def test_a_graph_that_grows_without_end_is_refused(arrays: Arrays) -> None:
    """Each Concat has the last one twice: 2 to the power of 60 anchors."""
    nodes = list(SYMBOL.nodes)
    detection = next(place for place, node in enumerate(nodes) if node.name == "detection")
    last = nodes[detection].inputs[2][0]
    for _ in range(60):
        nodes.append(Node("Concat", "twice", {"dim": "1", "num_args": "2"}, ((last, 0), (last, 0))))
        last = len(nodes) - 1
    nodes[detection] = nodes[detection]._replace(inputs=(*nodes[detection].inputs[:2], (last, 0)))
    symbol = in_order(nodes, SYMBOL.heads)
    with pytest.raises(ModelError, match="come from MultiBoxPrior, once"):
        Graph(symbol, arrays)


def test_images_that_a_graph_has_no_place_for(arrays: Arrays) -> None:
    """Too small ones, and those that would take all memory."""
    Graph(SYMBOL, arrays, 64)
    tight = attributes("pooling0", kernel="(9, 9)", stride="(1, 1)")
    Graph(tight, arrays, 64)
    with pytest.raises(ModelError, match=r"'pooling0' .*the image is too small for it"):
        Graph(tight, arrays, 8)
    with pytest.raises(ModelError, match=r"'conv0' .*\(64, 4097, 4097\) is too large"):
        Graph(SYMBOL, arrays, 4097 * 2)


NAMES = [node.name for node in SYMBOL.nodes]
VALUES = ["0", "-1", "(2, 2)", "(1,2,0.5)", "True", "x", "1e9"]
OPS = sorted({node.op for node in SYMBOL.nodes})


@settings(max_examples=30)
@given(draw=st.data())
def test_a_damaged_graph_works_or_is_named(arrays: Arrays, draw: st.DataObject) -> None:
    nodes = list(SYMBOL.nodes)
    for place in draw.draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=3)):
        node = nodes[place]
        change = draw.draw(st.sampled_from(["op", "inputs", "attrs", "name"]))
        if change == "op":
            nodes[place] = node._replace(op=draw.draw(st.sampled_from(OPS)))
        elif change == "name":
            nodes[place] = node._replace(name=draw.draw(st.sampled_from(NAMES)))
        elif change == "inputs":
            entry = st.tuples(st.integers(0, max(place - 1, 0)), st.integers(0, 2))
            nodes[place] = node._replace(inputs=tuple(draw.draw(st.lists(entry, max_size=5))))
        elif node.attrs:
            key = draw.draw(st.sampled_from(sorted(node.attrs)))
            value = draw.draw(
                st.sampled_from(["0", "-1", "(2, 2)", "(1,2,0.5)", "True", "x", "1e9"])
            )
            nodes[place] = node._replace(attrs={**node.attrs, key: value})
    try:
        data = write_symbol(replace(SYMBOL, nodes=tuple(nodes)))
        graph = Graph(read_symbol(data, "m-symbol.json"), arrays).eval()
    except ModelError:
        return
    with torch.inference_mode():
        predictions = graph(torch.zeros(1, 3, 64, 64))
    assert isinstance(predictions, Predictions)
