"""Jobs on this machine with the real training: what they write, and that a killed one ends where an
uninterrupted one does."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train
from tests.support.local_jobs import until
from tests.train.ssd.models import packed
from train.cli import main
from train.local import LocalJob
from train.ssd.artifact import Model, read_model

SMALL = {
    "base_network": "resnet-18", "image_shape": 64, "use_pretrained_model": 0, "epochs": 2,
    "mini_batch_size": 8, "learning_rate": 0.004, "device": "cpu", "seed": 3, "workers": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of three classes."""
    return packed(tmp_path_factory.mktemp("pictures"), 16)


@pytest.fixture(autouse=True)
def jobs_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(LocalJob, "_poll", 0.1)


def fit(rec: Path, folder: Path, name: str, **choices: Any) -> LocalJob:
    with pytest.warns(UserWarning, match="these are the images of train"):
        job = train.fit(
            str(rec), str(rec), str(folder), local=True, job_name=name, **SMALL | choices
        )
    assert isinstance(job, LocalJob)
    return job


def model_of(job: LocalJob) -> Model:
    return read_model(job.model)


def same(one: Model, other: Model) -> bool:
    return all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())


def test_a_killed_job_ends_where_an_uninterrupted_one_does(rec: Path, tmp_path: Path) -> None:
    whole = fit(rec, tmp_path, "whole", epochs=3)
    job = fit(rec, tmp_path, "killed", epochs=3)
    until((tmp_path / "killed" / "checkpoints" / "checkpoint.pt").exists)
    os.killpg(int((tmp_path / "killed" / "job.lock").read_text()), signal.SIGKILL)
    until(lambda: not job.status().running)
    assert job.status().state == "Failed"
    job = fit(rec, tmp_path, "killed", epochs=3)
    job.wait()
    whole.wait()
    assert "going on after epoch" in (tmp_path / "killed" / "log.txt").read_text()
    assert same(model_of(whole), model_of(job))
    assert Path(whole.model).read_bytes() == Path(job.model).read_bytes()
    assert set(job.history()) == set(whole.history()) == {0, 1, 2}
    assert job.history("cross_entropy") == whole.history("cross_entropy")
    numbers = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert [sorted(one) for one in numbers] == 3 * [
        ["cross_entropy", "epoch", "mAP", "smooth_l1", "throughput"]
    ]


def test_the_next_job_goes_on_from_its_model(
    rec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fit(rec, tmp_path, "voc-1")
    first.wait()
    options = [f"--{name}={SMALL[name]}" for name in ("device", "seed", "workers")]
    words = ["--train", str(rec), "--validation", str(rec), "--output", str(tmp_path), *options]
    for name, model in (("voc-2", "voc-1"), ("voc-3", first.model)):
        code = main(
            ["fit", "--local", *words, "--model", model, "--job-name", name, "--wait", "--set",
             "epochs=1", "--set", "mini_batch_size=8", "--set", "learning_rate=0.0001"]
        )  # fmt: skip
        out, err = capsys.readouterr()
        assert code == 0, err
        assert json.loads(out)["model"] == f"{tmp_path}/{name}/output/model.tar.gz"
    one, two, three = (
        read_model(tmp_path / name / "output" / "model.tar.gz")
        for name in ("voc-1", "voc-2", "voc-3")
    )
    assert two.hyperparameters["image_shape"] == "64"
    assert same(two, three)
    assert not same(one, two)


def test_weights_to_start_from(rec: Path, tmp_path: Path) -> None:
    first = fit(rec, tmp_path, "voc-1", epochs=1)
    first.wait()
    begun = fit(
        rec, tmp_path, "voc-2", epochs=1, use_pretrained_model=1, pretrained=first.model,
        freeze_layer_pattern="conv0",
    )  # fmt: skip
    begun.wait()
    name = "arg:conv0_weight"
    assert np.array_equal(model_of(first).arrays[name], model_of(begun).arrays[name])
    (tmp_path / "x.params").write_bytes(b"no arrays")
    job = fit(rec, tmp_path, "voc-3", use_pretrained_model=1, pretrained=str(tmp_path / "x.params"))
    with pytest.raises(train.JobError, match=r"voc-3: failed: .*x\.params"):
        job.wait()


def test_a_job_that_is_stopped_keeps_its_model(rec: Path, tmp_path: Path) -> None:
    job = fit(rec, tmp_path, "voc-1", epochs=1000)
    until(lambda: any("mAP" in line for line in job.new_lines()))
    job.stop()
    with pytest.raises(train.JobError, match="voc-1: stopped: it was told to stop; its model so"):
        job.wait()
    assert model_of(job).hyperparameters["epochs"] == "1000"


def test_two_processes(rec: Path, tmp_path: Path) -> None:
    job = fit(rec, tmp_path, "voc-1", processes=2)
    job.wait()
    assert set(job.history()) == {0, 1}
    log = (tmp_path / "voc-1" / "log.txt").read_text()
    assert log.count("epoch=1, validation mAP") == 1
    assert not (tmp_path / "voc-1" / "failure").exists()
    broken = fit(rec, tmp_path, "voc-2", processes=2, mini_batch_size=7)
    with pytest.raises(train.JobError, match="7 can't be divided among 2 processes"):
        broken.wait()
