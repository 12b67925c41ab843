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
from tests.support import local_jobs
from tests.support.local_jobs import BEHAVIOUR, is_gone, until
from tests.train.ssd.models import packed
from train.cli import main
from train.local import LocalJob, is_alive
from train.ssd.artifact import Model, read_model

pytestmark = pytest.mark.slow

SMALL = {
    "base_network": "resnet-18", "image_shape": 64, "use_pretrained_model": 0, "epochs": 2,
    "mini_batch_size": 8, "learning_rate": 0.004, "device": "cpu", "seed": 3, "workers": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of three classes."""
    return packed(tmp_path_factory.mktemp("pictures"), 16)


@pytest.fixture(scope="module")
def whole(rec: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalJob:
    """A job that nothing has interrupted."""
    job = fit(rec, tmp_path_factory.mktemp("models"), "whole")
    job.wait()
    return job


@pytest.fixture(autouse=True, scope="module")
def jobs_of_one_thread() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(LocalJob, "_poll", 0.1)
        yield


def fit(rec: Path, folder: Path, name: str, **choices: Any) -> LocalJob:
    with pytest.warns(UserWarning, match="these are the images of train"):
        job = train.fit(
            str(rec), str(rec), str(folder), local=True, job_name=name, **SMALL | choices
        )
    assert isinstance(job, LocalJob)
    return job


def model_of(job: LocalJob) -> Model:
    return read_model(job.model)


def test_a_killed_job_ends_where_an_uninterrupted_one_does(
    rec: Path, whole: LocalJob, tmp_path: Path
) -> None:
    job = fit(rec, tmp_path, "whole")
    until((tmp_path / "whole" / "checkpoints" / "checkpoint.pt").exists)
    os.killpg(int((tmp_path / "whole" / "job.lock").read_text().split()[1]), signal.SIGKILL)
    until(lambda: not job.status().running)
    assert job.status().state == "Failed"
    job = fit(rec, tmp_path, "whole")
    job.wait()
    assert "going on after epoch 0" in (tmp_path / "whole" / "log.txt").read_text()
    assert Path(whole.model).read_bytes() == Path(job.model).read_bytes()
    assert job.history().keys() == whole.history().keys() == {0, 1}
    assert job.history("cross_entropy") == whole.history("cross_entropy")
    numbers = json.loads((whole.folder / "metrics.json").read_text())
    assert [sorted(one) for one in numbers] == 2 * [
        ["cross_entropy", "epoch", "mAP", "smooth_l1", "throughput"]
    ]


def test_the_next_job_goes_on_from_its_model(
    rec: Path, whole: LocalJob, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(whole.folder.parent)
    code = main(
        ["fit", "--local", "--train", str(rec), "--validation", str(rec), "--output", output,
         "--device", "cpu", "--seed", "3", "--workers", "0", "--model", whole.model, "--job-name",
         "next", "--wait", "--set", "epochs=1", "--set", "mini_batch_size=8"]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0, err
    told = json.loads(out)
    assert told["model"] == f"{output}/next/output/model.tar.gz"
    after, before = read_model(told["model"]), model_of(whole)
    assert (after.hyperparameters["image_shape"], after.hyperparameters["epochs"]) == ("64", "1")
    assert after.symbol == before.symbol
    assert any(not np.array_equal(after.arrays[name], before.arrays[name]) for name in after.arrays)


def test_weights_to_start_from(rec: Path, whole: LocalJob, tmp_path: Path) -> None:
    job = fit(
        rec, tmp_path, "voc-2", epochs=1, use_pretrained_model=1, pretrained=whole.model,
        freeze_layer_pattern="conv0",
    )  # fmt: skip
    job.wait()
    name = "arg:conv0_weight"
    assert np.array_equal(model_of(whole).arrays[name], model_of(job).arrays[name])


def test_a_job_that_is_stopped_keeps_its_model(rec: Path, tmp_path: Path) -> None:
    job = fit(rec, tmp_path, "voc-1", epochs=1000)
    until(lambda: any("mAP" in line for line in job.new_lines()))
    job.stop()
    with pytest.raises(train.JobError, match="voc-1: stopped: it was told to stop; its model so"):
        job.wait()
    assert model_of(job).hyperparameters["epochs"] == "1000"


# ---- several processes


def test_two_processes_train_one_model_until_they_are_stopped(rec: Path, tmp_path: Path) -> None:
    job = fit(rec, tmp_path, "voc-1", processes=2, epochs=1000)
    until(lambda: any("mAP" in line for line in job.new_lines()))
    job.stop()
    with pytest.raises(train.JobError, match="voc-1: stopped: it was told to stop; its model so"):
        job.wait()
    log = (tmp_path / "voc-1" / "log.txt").read_text()
    assert log.count("epoch=0, validation mAP") == 1
    assert model_of(job).hyperparameters["epochs"] == "1000"


@pytest.mark.parametrize("behaviour", ["fail", "die", "wait", "hang"])
def test_two_processes_that_end_in_another_way(
    rec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    local_jobs.install(monkeypatch)
    monkeypatch.setenv(BEHAVIOUR, behaviour)
    job = fit(rec, tmp_path, "voc-1", processes=2)
    if behaviour in ("wait", "hang"):
        until(lambda: any("mAP" in line for line in job.new_lines()))
        job.stop()
    reason = {"fail": "failed: ValueError: no luck", "wait": "stopped: it was told to stop",
              "die": "failed: one of its 2 processes was killed",
              "hang": "stopped: it was told to stop, and killed before it had written"}  # fmt: skip
    with pytest.raises(train.JobError, match=f"voc-1: {reason[behaviour]}"):
        job.wait()
    assert (tmp_path / "voc-1" / "output" / "model.tar.gz").exists() == (behaviour == "wait")
    until(lambda: not is_alive(job.folder))
    left = [int(path.name.partition("-")[2]) for path in job.folder.glob("process-*")]
    assert left  # one can have ended before the other has begun
    until(lambda: all(map(is_gone, left)))
