"""ONNX files beside the detector: the same rows, for each network, size and number of classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from tests.train.ssd.models import small_model
from train.cli import main
from train.errors import ModelError, SpecError
from train.ssd.artifact import Model, write_model
from train.ssd.detector import Detector
from train.ssd.export import to_onnx
from train.ssd.symbols import Symbol

pytestmark = pytest.mark.once

Rows = npt.NDArray[np.float32]


def images_of(side: int, count: int) -> npt.NDArray[np.uint8]:
    """Blurred noise."""
    random = np.random.default_rng(1)
    small = random.integers(0, 256, (count, 8, 8, 3), np.uint8)
    sized = [cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in small]
    return np.array(sized, np.uint8)


def run(data: bytes, images: npt.NDArray[np.uint8]) -> list[Rows]:
    """The rows that an ONNX file finds, as ``Detector`` gives them; what is none must be empty."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    boxes, scores, ids = session.run(None, {"images": images.transpose(0, 3, 1, 2)})
    found: list[Rows] = []
    for box, score, id_ in zip(boxes, scores, ids, strict=True):
        count = int((id_ >= 0).sum())
        assert (id_[count:] == -1).all()
        assert not score[count:].any()
        assert not box[count:].any()
        found.append(np.column_stack([id_, score, box])[:count].astype(np.float32))
    return found


def demand_same(model: Model, count: int = 2) -> list[Rows]:
    detector = Detector(model, device="cpu")
    images = images_of(detector.image_shape, count)
    expected: list[Rows] = detector.detect(list(images))
    found = run(to_onnx(model), images)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        # two scores can differ by less than the arithmetic's errors, and change places
        ours, theirs = (one[np.lexsort((one[:, 2], one[:, 0]))] for one in (ours, theirs))
        np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
        np.testing.assert_allclose(ours[:, 1], theirs[:, 1], atol=1e-5)
        np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], atol=1e-4)
    return expected


@pytest.mark.parametrize("classes", [1, 20])
@pytest.mark.parametrize("network", ["resnet-50", "vgg-16"])
def test_it_detects_as_the_detector_does(network: str, classes: int) -> None:
    rows = demand_same(small_model(300, classes, network))
    assert min(map(len, rows)) > 50
    assert (len(set(rows[0][:, 0])) == 1) == (classes == 1)


def changed(model: Model, **attrs: str) -> Model:
    """With other attributes of the node that detects."""
    nodes = tuple(
        node._replace(attrs={**node.attrs, **attrs}) if "Detection" in node.op else node
        for node in model.symbol.nodes
    )
    symbol = Symbol(nodes, model.symbol.heads, model.symbol.version)
    return replace(model, symbol=symbol)


@pytest.mark.parametrize(
    "attrs",
    [
        {}, {"nms_threshold": "0.2"}, {"force_suppress": "True"}, {"nms_topk": "7"},
        {"nms_topk": "-1"}, {"threshold": "0.3"}, {"threshold": "0.999"}, {"clip": "False"},
        {"variances": "(0.2, 0.1, 0.3, 0.1)"}, {"nms_threshold": "1.5"}, {"nms_threshold": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_what_the_node_says(attrs: dict[str, str]) -> None:
    rows = demand_same(changed(small_model(), **attrs), 3)
    assert all(len(one) == 0 for one in rows) == (attrs == {"threshold": "0.999"})


def test_an_overlap_of_exactly_the_threshold_suppresses() -> None:
    """MXNet compares with >=, ONNX with >: two equal boxes at a threshold of 1."""
    model = small_model()
    arrays = {
        name: np.zeros_like(array) if "loc_pred" in name or "cls_pred" in name else array
        for name, array in model.arrays.items()
    }
    same = changed(replace(model, arrays=arrays), nms_threshold="1", clip="True")
    demand_same(same, 1)


def test_a_free_number_of_images_and_of_none() -> None:
    model = small_model()
    data = to_onnx(model)
    whole = run(data, images_of(64, 5))
    assert run(data, images_of(64, 5)[:0]) == []
    for at in range(5):
        (alone,) = run(data, images_of(64, 5)[at : at + 1])
        np.testing.assert_allclose(alone, whole[at], atol=1e-5)


def test_what_the_file_says() -> None:
    data = to_onnx(small_model(classes=2), ["cat", "dög"])
    assert data == to_onnx(small_model(classes=2), ["cat", "dög"])
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.key, json.loads(one.value)) for one in model.metadata_props] == [
        ("classes", ["cat", "dög"])
    ]
    assert [one.domain for one in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}

    def shape(one: Any) -> tuple[str, int, list[Any]]:
        kind = one.type.tensor_type
        return one.name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]

    (images,) = map(shape, model.graph.input)
    assert images == ("images", onnx.TensorProto.UINT8, ["N", 3, 64, 64])
    rows = shape(model.graph.output[1])[2][1]
    assert list(map(shape, model.graph.output)) == [
        ("boxes", onnx.TensorProto.FLOAT, ["N", rows, 4]),
        ("scores", onnx.TensorProto.FLOAT, ["N", rows]),
        ("classes", onnx.TensorProto.INT64, ["N", rows]),
    ]


def test_what_can_not_be_exported() -> None:
    with pytest.raises(SpecError, match="classes: 1 names, and the model has 3"):
        to_onnx(small_model(), ["cat"])
    model = small_model()
    arrays = {name: array for name, array in model.arrays.items() if name != "arg:conv0_weight"}
    with pytest.raises(ModelError, match="conv0_weight"):
        to_onnx(replace(model, arrays=arrays))
    with pytest.raises(ModelError, match=r"image_shape: 'missing'.*hyperparams"):
        to_onnx(replace(model, hyperparameters={}))
    with pytest.raises(ModelError, match="image_shape: '111"):
        to_onnx(replace(model, hyperparameters={"image_shape": "1" * 5000}))
    nodes = tuple(
        node._replace(name="boxes") if node.name == "relu0" else node for node in model.symbol.nodes
    )
    with pytest.raises(ModelError, match=r"no ONNX file can be made of it: .*'boxes'"):
        to_onnx(replace(model, symbol=Symbol(nodes, model.symbol.heads)))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "voc-1"
    (folder / "output").mkdir(parents=True)
    write_model(folder / "output" / "model.tar.gz", small_model())
    record = {"version": 1, "classes": ["a", "b", "c"], "data": {}}
    (folder / "recpack.json").write_text(json.dumps(record))
    output = tmp_path / "x.onnx"
    assert main(["export", str(folder), str(output)]) == 0
    assert json.loads(capsys.readouterr().out) == {"onnx": str(output), "classes": ["a", "b", "c"]}
    before = output.read_bytes()
    assert before == to_onnx(small_model(), ["a", "b", "c"])
    assert main(["export", str(folder), str(output), "--classes", "a"]) == 1
    assert main(["export", str(tmp_path / "none"), str(output)]) == 1
    assert main(["export", str(folder), str(tmp_path / "no" / "x.onnx")]) == 1
    assert "can't be written" in capsys.readouterr().err
    assert output.read_bytes() == before
