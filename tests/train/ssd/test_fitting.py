"""It learns; it goes on where it ended; each hyperparameter does what it says."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

import recpack
from recpack.demo.story import CLASSES, make_devkit
from tests.train.ssd.models import build_thin, packed
from train.errors import ModelError, SpecError
from train.hyperparameters import Hyperparameters
from train.logs import parse_metric
from train.ssd import weights
from train.ssd.artifact import Model, read_model
from train.ssd.fitting import Setup, fit
from train.ssd.network import initial_arrays
from train.ssd.weights import starting_model, torchvision_weights

LEARNING = {
    "base_network": "resnet-18", "use_pretrained_model": 0, "image_shape": 64, "epochs": 2,
    "mini_batch_size": 8, "learning_rate": 0.004,
}  # fmt: skip


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of three classes."""
    return packed(tmp_path_factory.mktemp("pictures"), 16)


class Run:
    """A training of a thin network, and what it said."""

    def __init__(self, rec: Path, stop_after: int | None = None, **choices: Any) -> None:
        fields = {one.name for one in dataclasses.fields(Setup)}
        setup = {name: choices.pop(name) for name in list(choices) if name in fields}
        manifest = recpack.RecordReader(rec).manifest()
        assert manifest is not None
        learning = Hyperparameters.from_manifests(manifest, **LEARNING | choices)
        self.lines: list[str] = []
        asked = iter(range(1 << 30))
        with patch.object(weights, "build", build_thin):
            self.model: Model = fit(
                Setup(
                    **{"hyperparameters": learning, "train": rec, "validation": rec, "seed": 3,
                       "workers": 0, "device": "cpu"} | setup
                ),
                self.lines.append,
                lambda: stop_after is not None and next(asked) >= stop_after,
            )  # fmt: skip

    def history(self, name: str) -> list[float]:
        found = {}
        for line in self.lines:
            metric = parse_metric(line)
            if metric is not None and metric.name == name:
                found[metric.epoch] = metric.value
        return list(found.values())


def same(one: Model, other: Model) -> bool:
    return one.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items()
    )


@pytest.mark.slow
def test_pictures_are_learnt_and_the_next_training_goes_on(rec: Path) -> None:
    """One batch of all of them as they are, so that the losses of two epochs can be compared."""
    choices = {"mini_batch_size": 16, "optimizer": "adam", "augmented": False}
    first = Run(rec, epochs=64, learning_rate=0.005, **choices)
    assert first.history("mAP")[-1] > 0.9
    losses = first.history("cross_entropy")
    assert losses[-1] < losses[0] / 100
    second = Run(rec, model=first.model, epochs=1, learning_rate=1e-5, **choices)
    assert second.history("cross_entropy")[0] == pytest.approx(losses[-1], rel=0.5)
    assert second.history("mAP")[0] > 0.9


def test_the_log_is_as_sagemakers(rec: Path) -> None:
    run = Run(rec, freeze_layer_pattern="conv1_")
    assert run.lines[0] == "freeze_layer_pattern: conv1_ matches no layer; all are learnt"
    assert len(run.history("mAP")) == len(run.history("smooth_l1")) == 2
    assert [one for one in map(parse_metric, run.lines) if one and one.name == "progress"] == [
        ("progress", 50.0, -1, -1), ("progress", 100.0, -1, -1)
    ]  # fmt: skip
    throughput = [one for one in map(parse_metric, run.lines) if one and one.name == "throughput"]
    assert len(throughput) == 2
    assert all(one.value > 0 for one in throughput)


def test_a_seed_gives_the_same_run(rec: Path) -> None:
    one, two, other = (Run(rec, epochs=1, seed=seed) for seed in (5, 5, 2**70))
    assert same(one.model, two.model)
    assert not same(one.model, other.model)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "adadelta"])
def test_a_killed_run_ends_where_an_uninterrupted_one_does(
    rec: Path, tmp_path: Path, optimizer: str
) -> None:
    choices = {
        "optimizer": optimizer, "epochs": 3, "learning_rate": 0.001, "lr_scheduler_step": "2"
    }  # fmt: skip
    whole = Run(rec, **choices)
    # asked after each step, before each batch of the validation and after it: here in the second
    # step of the second epoch
    Run(rec, checkpoints=tmp_path, stop_after=6, **choices)
    rest = Run(rec, checkpoints=tmp_path, **choices)
    assert "going on after epoch 0" in rest.lines[0]
    assert same(whole.model, rest.model)
    assert whole.history("mAP")[1:] == rest.history("mAP")
    done = Run(rec, checkpoints=tmp_path, **choices)
    assert same(whole.model, done.model)
    assert done.history("mAP") == []


def test_a_checkpoint_of_another_training_is_refused(rec: Path, tmp_path: Path) -> None:
    Run(rec, checkpoints=tmp_path, epochs=1)
    with pytest.raises(SpecError, match=r"checkpoint\.pt: .*learning_rate was 0.004, now 0.001"):
        Run(rec, checkpoints=tmp_path, epochs=1, learning_rate=0.001)
    more = Run(rec, checkpoints=tmp_path, epochs=2)
    assert len(more.history("mAP")) == 1
    Run(rec, checkpoints=tmp_path / "frozen", epochs=1, freeze_layer_pattern="stage")
    with pytest.raises(SpecError, match="freeze_layer_pattern was stage, now None"):
        Run(rec, checkpoints=tmp_path / "frozen", epochs=2)
    (tmp_path / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(SpecError, match="no checkpoint of recpack; delete it"):
        Run(rec, checkpoints=tmp_path)


def test_a_stopped_training_keeps_what_it_has_learnt(rec: Path) -> None:
    stopped, whole = Run(rec, stop_after=0), Run(rec, epochs=1)
    assert stopped.history("mAP") == []
    assert stopped.model.arrays.keys() == whole.model.arrays.keys()
    assert not same(stopped.model, whole.model)


def test_a_training_stopped_in_its_validation_ends_there(rec: Path, tmp_path: Path) -> None:
    stopped, whole = Run(rec, stop_after=2, checkpoints=tmp_path), Run(rec, epochs=1)
    assert stopped.history("smooth_l1") == whole.history("smooth_l1")
    assert stopped.history("mAP") == []
    assert same(stopped.model, whole.model)
    assert not [*tmp_path.iterdir()]


def test_frozen_layers_stay(rec: Path) -> None:
    before = Run(rec, epochs=1).model
    after = Run(rec, model=before, epochs=1, freeze_layer_pattern="stage|conv0|bn").model
    changed = {
        name
        for name, array in after.arrays.items()
        if not np.array_equal(array, before.arrays[name])
    }
    learnt = {name for name in changed if name.startswith("arg:")}
    assert learnt
    assert not {name for name in learnt if name.startswith(("arg:stage", "arg:conv0", "arg:bn"))}
    with pytest.raises(SpecError, match=r"freeze_layer_pattern: \.\* matches every layer"):
        Run(rec, freeze_layer_pattern=".*")


def test_the_rate_drops_at_its_steps(rec: Path) -> None:
    """A factor so small that nothing is learnt afterwards; adam's steps are the rate's size."""
    model = Run(rec, epochs=1).model
    choices = {"model": model, "optimizer": "adam", "learning_rate": 0.001}
    once, twice, dropped = (
        Run(rec, **choices, **more).model.arrays
        for more in (
            {"epochs": 1}, {"epochs": 2},
            {"epochs": 2, "lr_scheduler_step": "1", "lr_scheduler_factor": 1e-30},
        )
    )  # fmt: skip
    learnt = [name for name in once if not np.array_equal(once[name], twice[name])]
    assert "arg:conv0_weight" in learnt
    for name in learnt:
        if name.startswith("arg:"):
            assert np.abs(once[name] - dropped[name]).max() < 1e-20, name


@pytest.mark.parametrize(("patience", "least", "epochs"), [(1, 1, 2), (3, 1, 4), (1, 3, 3)])
def test_it_stops_early(rec: Path, patience: int, least: int, epochs: int) -> None:
    """No box overlaps entirely, so the mAP stays 0."""
    run = Run(
        rec, epochs=6, early_stopping=True, early_stopping_min_epochs=least,
        early_stopping_patience=patience, overlap_threshold=1.0,
    )  # fmt: skip
    assert run.history("mAP") == [0.0] * epochs


def test_losses_that_are_no_numbers_end_it(rec: Path) -> None:
    with pytest.raises(SpecError, match="learning_rate: 1 is too high: in epoch"):
        Run(rec, learning_rate=1.0, epochs=6, model=Run(rec, epochs=1).model)


def test_weights_that_are_no_numbers_become_no_model(rec: Path, tmp_path: Path) -> None:
    """These don't change the losses of training."""
    before = Run(rec, epochs=1).model
    before.arrays["aux:bn0_moving_var"][:] = np.nan
    with pytest.raises(SpecError, match="in epoch 1 losses or weights are no numbers any more"):
        Run(rec, model=before, epochs=1, checkpoints=tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"precision": "bf16"}, "precision: bf16 is for a GPU; on a CPU use auto or fp32"),
        ({"mini_batch_size": 1, "image_shape": 32}, "mini_batch_size: 1 for each process is too"),
    ],
)
def test_what_pytorch_can_not_compute(rec: Path, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Run(rec, **choices)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_network": "resnet-50"}, "base_network: the model to continue has resnet-18, but"),
        ({"image_shape": 64}, ""),
        ({"nms_threshold": 0.3}, ""),
    ],
)
def test_what_a_model_to_continue_must_have(
    rec: Path, change: dict[str, Any], message: str
) -> None:
    before = Run(rec, epochs=1).model
    if message:
        with pytest.raises(SpecError, match=message):
            Run(rec, model=before, **change)
        unknown = dataclasses.replace(before, hyperparameters={})
        with pytest.raises(SpecError, match="model: another network or other classes: its "):
            Run(rec, model=unknown, **change)
        return
    after = Run(rec, model=before, epochs=1, **change).model
    detection = next(one for one in after.symbol.nodes if one.op == "_contrib_MultiBoxDetection")
    assert float(detection.attrs["nms_threshold"]) == change.get("nms_threshold", 0.45)


def test_other_classes_are_refused(rec: Path, tmp_path: Path) -> None:
    make_devkit(tmp_path / "devkit", images=10)
    recpack.convert(tmp_path / "devkit", tmp_path / "two.rec", classes=[*CLASSES, "more"])
    with pytest.raises(SpecError, match="num_classes: the model to continue has 3, but this job"):
        Run(tmp_path / "two.rec", model=Run(rec, epochs=1).model)


def test_pretrained_weights(rec: Path) -> None:
    with pytest.raises(SpecError, match="use_pretrained_model: 1, but there are no weights"):
        Run(rec, use_pretrained_model=1)
    for network, layers in (("vgg-16", 0), ("resnet-50", 9)):
        other = initial_arrays(build_thin(network, 3, 64), 64, np.random.default_rng(0))
        with pytest.raises(SpecError, match=f"of 21 layers of resnet-18 it has {layers}; give"):
            Run(rec, pretrained=other)
    before = Run(rec, epochs=1).model
    after = Run(rec, pretrained=before.arrays, epochs=1, freeze_layer_pattern="conv0").model
    assert np.array_equal(after.arrays["arg:conv0_weight"], before.arrays["arg:conv0_weight"])


def test_weights_of_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a file as torchvision would have fetched it."""
    models = pytest.importorskip("torchvision.models")
    network = models.vgg16(weights=None)
    state = {key: one for key, one in network.state_dict().items() if key.startswith("features")}
    url = models.VGG16_Weights.IMAGENET1K_FEATURES.url
    monkeypatch.setenv("TORCH_HOME", os.fspath(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub" / "checkpoints" / Path(url).name)
    arrays = torchvision_weights("vgg-16")
    learning = Hyperparameters(
        num_classes=3, num_training_samples=9, label_width=30, base_network="vgg-16"
    )
    started = starting_model(learning, None, arrays, 0)
    for name, layer in (("conv1_1", 0), ("conv2_2", 7), ("conv5_3", 28)):
        wanted = state[f"features.{layer}.weight"].numpy()
        assert np.array_equal(started.arrays[f"arg:{name}_weight"], wanted)
    with pytest.raises(SpecError, match="torchvision has no weights for resnet-50"):
        torchvision_weights("resnet-50")
    monkeypatch.setenv("TORCH_HOME", os.fspath(tmp_path / "none"))
    monkeypatch.setattr("urllib.request.urlopen", _refuse)
    monkeypatch.setattr("torch.hub.urlopen", _refuse)
    with pytest.raises(ModelError, match="torchvision can't fetch its weights: no way"):
        torchvision_weights("vgg-16")


def _refuse(*_: object, **__: object) -> None:
    raise OSError("no way")


def two_processes(rec: Path, code: str) -> subprocess.CompletedProcess[str]:
    """The code in two processes that train together."""
    head = "import sys; from tests.train.ssd.test_fitting import *; rec = Path(sys.argv[1])"
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
         "--no-python", sys.executable, "-c", f"{head}\n{code}", os.fspath(rec)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_train_one_model(rec: Path, tmp_path: Path) -> None:
    """Each sees half of a batch; both end with the same arrays, and the first tells of all."""
    code = (
        "from train.ssd.artifact import write_model\n"
        f"run = Run(rec, epochs=2, checkpoints=Path({os.fspath(tmp_path)!r}))\n"
        "name = 'rank' + os.environ['RANK']\n"
        f"write_model(Path({os.fspath(tmp_path)!r}) / f'{{name}}.tar.gz', run.model)\n"
        "print(f'lines {name} {len(run.lines)}\\n', end='')"
    )
    run = two_processes(rec, code)
    assert run.returncode == 0, run.stderr
    assert "lines rank1 0" in run.stdout
    one, other = (read_model(tmp_path / f"rank{rank}.tar.gz") for rank in (0, 1))
    assert same(one, other)  # the means of batches too, so that the mAP is that of the model
    single = Run(rec, epochs=2)
    assert not same(one, single.model)  # batch statistics of half a batch


def test_batches_that_can_not_be_divided(rec: Path) -> None:
    run = two_processes(rec, "Run(rec, epochs=1, mini_batch_size=7)")
    assert run.returncode
    assert "mini_batch_size: 7 can't be divided among 2 processes" in run.stderr
