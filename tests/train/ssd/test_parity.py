"""The networks beside MXNet's: the same graphs, outputs, gradients and moving means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.conftest import Oracle
from train.ssd import multibox
from train.ssd.graph import Graph
from train.ssd.losses import losses
from train.ssd.mxnet_files import Arrays, read_arrays, read_symbol, write_arrays, write_symbol
from train.ssd.network import NETWORKS, build, initial_arrays
from train.ssd.symbols import Symbol

FULL = [("resnet-50", 300, 1), ("resnet-50", 512, 20), ("vgg-16", 300, 20), ("vgg-16", 512, 1)]


def random_arrays(symbol: Symbol, side: int, seed: int) -> Arrays:
    """Weights of which none is 0 or 1, and predictions that differ."""
    random = np.random.default_rng(seed)
    arrays = initial_arrays(symbol, side, random)
    for name, array in arrays.items():
        if not name.endswith(("_weight", "_scale")) and not name.startswith("aux:bn_data"):
            arrays[name] = (array + random.uniform(-0.3, 0.3, array.shape)).astype(np.float32)
        if name.endswith("cls_pred_conv_weight"):
            arrays[name] = array * 3
    return arrays


def checkpoint(folder: Path, symbol: Symbol, arrays: Arrays) -> Path:
    (folder / "model-symbol.json").write_bytes(write_symbol(symbol))
    (folder / "model-0000.params").write_bytes(write_arrays(arrays))
    return folder / "model"


def pictures(count: int, side: int, seed: int) -> npt.NDArray[np.float32]:
    """Smooth ones, RGB from 0 to 255."""
    random = np.random.default_rng(seed)
    coarse = torch.tensor(random.uniform(0, 255, (count, 3, 9, 9)))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return np.asarray(fine, np.float32)


@pytest.mark.parametrize("classes", [1, 20])
@pytest.mark.parametrize("side", [300, 350, 512])
@pytest.mark.parametrize("network", NETWORKS)
def test_graphs_are_mxnets_node_for_node(
    oracle: Oracle, network: str, side: int, classes: int
) -> None:
    theirs = json.loads(oracle("ssd_graph", network, classes, side))
    ours = json.loads(write_symbol(build(network, classes, side)))
    assert ours["nodes"] == theirs["nodes"]
    for name in ("heads", "arg_nodes", "attrs"):
        assert ours[name] == theirs[name]
    symbol = read_symbol(json.dumps(theirs).encode(), "theirs")
    assert symbol == build(network, classes, side)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "side", "classes"), FULL)
def test_mxnet_loads_our_files_and_predicts_the_same(
    oracle: Oracle, network: str, side: int, classes: int, tmp_path: Path
) -> None:
    symbol = build(network, classes, side)
    arrays = random_arrays(symbol, side, 1)
    images = pictures(1, side, 2)
    np.save(tmp_path / "images.npy", images)
    prefix = checkpoint(tmp_path, symbol, arrays)
    oracle("ssd_predict", prefix, tmp_path / "images.npy", tmp_path / "answer.npz")
    theirs = np.load(tmp_path / "answer.npz")
    graph = Graph(symbol, arrays).eval()
    with torch.inference_mode():
        predictions = graph(torch.from_numpy(images))
        detections = graph.detect(predictions)
    assert np.array_equal(predictions.anchors, theirs["anchors"])
    for name, ours in (
        ("logits", predictions.logits),
        ("locations", predictions.locations),
        ("probabilities", predictions.logits.softmax(1)),
    ):
        largest = np.abs(theirs[name]).max()
        assert largest > 0.5
        assert np.abs(ours.numpy() - theirs[name]).max() < 2e-5 * largest
    assert same_detections(detections.numpy()[0], theirs["detections"][0]) > 10


def same_detections(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> int:
    """Each detection has its like among the others, of the same class; how many they are. Scores
    that differ in the last bits may stand in another order."""
    ours, theirs = ours[ours[:, 0] >= 0], theirs[theirs[:, 0] >= 0]
    assert len(ours) == len(theirs)
    apart = np.abs(ours[:, None] - theirs[None]).max(2)
    like = apart.argmin(1)
    assert sorted(like) == list(range(len(theirs)))
    assert apart.min(1).max() < 1e-5
    return len(ours)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "side", "classes"),
    [("resnet-50", 64, 20), ("vgg-16", 64, 1), ("resnet-18", 64, 1)],
)
def test_gradients_and_moving_means_are_mxnets_in_float64(
    oracle: Oracle, network: str, side: int, classes: int, tmp_path: Path
) -> None:
    symbol = build(network, classes, side)
    arrays = random_arrays(symbol, side, 3)
    graph = Graph(symbol, arrays).double().train()
    images = torch.from_numpy(pictures(2, side, 4)).double()
    predictions = graph(images)
    last = classes - 1.0
    labels = torch.tensor(
        [[[0.0, 0.1, 0.1, 0.6, 0.5], [last, 0.4, 0.3, 0.9, 0.8]], [[last, 0.3, 0.2, 0.5, 0.4]] * 2]
    )
    targets = multibox.target(
        predictions.anchors, labels, predictions.logits.detach(), negative_mining_ratio=3
    )
    given = losses(predictions.logits, predictions.locations, targets)
    given.total.backward()
    np.savez(
        tmp_path / "question.npz", data=images.numpy(), classes=targets.classes.numpy(),
        locations=targets.locations.numpy(), mask=targets.mask.numpy(),
    )  # fmt: skip
    prefix = checkpoint(tmp_path, symbol, arrays)
    counts = oracle("ssd_train", prefix, tmp_path / "question.npz", tmp_path / "answer.npz")
    theirs = np.load(tmp_path / "answer.npz")
    probabilities = predictions.logits.detach().softmax(1).numpy()
    assert np.abs(probabilities - theirs["probabilities"]).max() < 1e-12
    learnt = 0
    for name, parameter in graph.named().items():
        assert parameter.grad is not None
        assert relative(parameter.grad, theirs[name]) < 1e-7
        learnt += bool(theirs[name].any())
    assert learnt > 45
    after = {
        symbol.nodes[int(name.removeprefix("node"))].name: state.numpy()
        for name, state in graph.named_buffers()
    }
    for name, count in counts.items():
        expected = theirs[name]
        if name.endswith("_var"):  # MXNet's CPU alone keeps the biased variance
            kept = np.float32(0.9) * arrays[f"aux:{name}"].astype(np.float64)
            expected = kept + (expected - kept) * count / (count - 1)
        assert relative(after[name], expected) < 1e-7
    assert len(counts) == {"vgg-16": 0, "resnet-50": 100, "resnet-18": 36}[network]


def relative(ours: Any, theirs: npt.NDArray[Any]) -> float:
    """The largest difference, by the largest value of an array; 0 when all are 0."""
    apart = float(np.abs(np.asarray(ours) - theirs).max())
    return apart / float(np.abs(theirs).max()) if apart else 0.0


@pytest.mark.slow
def test_what_mxnet_trained_and_saved_is_read_here(oracle: Oracle, tmp_path: Path) -> None:
    """A module of MXNet takes a step and saves a checkpoint; here it detects the same, and is
    written again bit for bit."""
    np.save(tmp_path / "images.npy", pictures(2, 64, 5) / 8)
    images = torch.from_numpy(np.load(tmp_path / "images.npy"))
    prefix = tmp_path / "theirs"
    oracle("ssd_checkpoint", "resnet-18", 3, 64, tmp_path / "images.npy", prefix)
    oracle("ssd_predict", prefix, tmp_path / "images.npy", tmp_path / "answer.npz")
    theirs = np.load(tmp_path / "answer.npz")
    data = Path(f"{prefix}-0000.params").read_bytes()
    symbol = read_symbol(Path(f"{prefix}-symbol.json").read_bytes(), "theirs")
    graph = Graph(symbol, read_arrays(data, "theirs"))
    assert write_arrays(graph.arrays()) == data
    graph.eval()
    with torch.inference_mode():
        predictions = graph(images)
        detections = graph.detect(predictions).numpy()
    assert relative(predictions.logits, theirs["logits"]) < 2e-5
    assert relative(predictions.locations, theirs["locations"]) < 2e-5
    for ours, others in zip(detections, theirs["detections"], strict=True):
        assert same_detections(ours, others) > 10
