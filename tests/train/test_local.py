"""Training jobs on this machine, by the command line: their folders, their ends, and going on."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import recpack
import train
from tests.support import local_jobs
from tests.support.hosts import Typed
from tests.support.jobs import MODEL, RECORD, TRAIN, VALIDATION
from tests.support.local_jobs import BEHAVIOUR, REPOSITORY, until
from tests.support.s3server import Blob, S3Server
from train.errors import JobError, SpecError, TrainError, UsageError
from train.local import LocalJob, is_alive
from train.logs import FileReader
from train.service import Service

pytestmark = pytest.mark.once

SCRATCH = {"use_pretrained_model": 0, "epochs": 3, "mini_batch_size": 8}
CPU: dict[str, Any] = {"local": True, "device": "cpu"}  # else it would ask PyTorch for GPUs


@pytest.fixture(scope="module")
def data(devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packed channels."""
    folder = tmp_path_factory.mktemp("data")
    for name, year in (("train", "2007"), ("val", "2012")):
        recpack.convert(devkit, folder / f"{name}.rec", year=year, classes="voc", jobs=1)
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the jobs; AWS is not there. Jobs that a failed test leaves are killed."""
    local_jobs.install(monkeypatch)
    monkeypatch.chdir(tmp_path)

    def refuse(_: Service, name: str) -> None:
        raise AssertionError(f"{name} of AWS is asked")

    monkeypatch.setattr(Service, "client", refuse)
    yield Path("models")
    for lock in Path("models").glob("*/job.lock"):
        if is_alive(lock.parent):
            os.killpg(int(lock.read_text().split()[1]), signal.SIGKILL)


Fit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fit(typed: Typed, data: Path, models: Path) -> Fit:
    """Fits ``models/voc-1``, from scratch if nothing else is said."""

    def run(*options: str, name: str = "voc-1", **values: object) -> tuple[int, str, str]:
        settings = [f"{key}={value}" for key, value in (SCRATCH | values).items()]
        return typed(
            "fit", "--local", "--train", f"{data}/train.rec", "--validation", f"{data}/val.rec",
            "--output", str(models), "--job-name", name, "--device", "cpu", *options,
            *(word for setting in settings for word in ("--set", setting)),
        )  # fmt: skip

    return run


def ended(folder: str = "models/voc-1") -> dict[str, Any]:
    """A job's description when its process is gone."""
    job = LocalJob.at(folder)
    until(lambda: not job.status().running)
    return job.describe()


# ---- a job that completes


def test_a_job_from_its_start_to_its_end(fit: Fit, typed: Typed, data: Path) -> None:
    code, out, err = fit("--wait")
    assert code == 0, err
    assert json.loads(out) == {
        "job": "voc-1", "model": "models/voc-1/output/model.tar.gz",
        "mAP": {"0": 0.1, "1": 0.2, "2": 0.3},
    }  # fmt: skip
    assert "started voc-1" in err
    assert "begins with epoch 0" in err
    assert "epoch 2: mAP 0.300" in err
    assert err.rstrip().endswith("Completed") or "\nCompleted\n" in err
    folder = Path("models/voc-1")
    record = json.loads((folder / "recpack.json").read_text())
    assert record["classes"] == list(recpack.VOC_CLASSES)
    assert record["data"]["train"]["rec"] == str(data / "train.rec")
    assert record["data"]["train"]["samples"] == 70
    until(lambda: not (folder / "checkpoints").exists())  # right after it is Completed
    assert json.loads((folder / "metrics.json").read_text()) == [
        {"epoch": n, "cross_entropy": 4 / (n + 1), "throughput": 12.5, "mAP": (n + 1) / 10}
        for n in range(3)
    ]
    told = json.loads((folder / "job.json").read_text())
    assert told["HyperParameters"]["num_training_samples"] == "70"
    code, out, _ = typed("status", "models/voc-1")
    assert (code, json.loads(out)["state"]) == (0, "Completed")
    assert json.loads(out)["model"] == "models/voc-1/output/model.tar.gz"
    code, out, _ = typed("logs", "models/voc-1", "--follow")
    assert code == 0
    assert out.splitlines()[0] == "begins with epoch 0"
    assert train.attach("models/voc-1").status().state == "Completed"


def test_the_plot(fit: Fit, typed: Typed) -> None:
    pytest.importorskip("matplotlib")
    fit("--wait")
    assert typed("logs", "models/voc-1", "--plot", "x.png")[0] == 0
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")


def test_in_python(data: Path, models: Path) -> None:
    job = train.fit(
        f"{data}/train.rec", f"{data}/val.rec", str(models), job_name="voc-1",
        base_network="resnet-18", image_shape=64, **CPU, **SCRATCH,
    )  # fmt: skip
    assert isinstance(job, LocalJob)
    states: list[str] = []
    job.wait(on_status=lambda status: states.append(status.state))
    assert states[-1] == "Completed"
    assert job.history() == {0: 0.1, 1: 0.2, 2: 0.3}
    assert job.model == "models/voc-1/output/model.tar.gz"
    again = train.plan(
        f"{data}/train.rec", f"{data}/val.rec", str(models), local=True, model=job, epochs=1,
        mini_batch_size=8,
    )  # fmt: skip
    sent = again.request["HyperParameters"]
    assert (sent["base_network"], sent["image_shape"]) == ("resnet-18", "64")
    assert again.request["InputDataConfig"][2]["DataSource"]["S3DataSource"]["S3Uri"] == str(
        Path("models/voc-1/output/model.tar.gz").absolute()
    )
    assert again.notes == ()


def test_a_name_that_has_completed_is_taken(fit: Fit) -> None:
    fit("--wait")
    before = Path("models/voc-1/job.json").read_bytes()
    code, out, err = fit()
    assert (code, out) == (1, "")
    assert "it has completed; choose another --job-name, and --model voc-1 to go on" in err
    assert Path("models/voc-1/job.json").read_bytes() == before
    code, _, err = fit("--model", "voc-1", name="voc-2")
    assert code == 0, err
    assert "follow it: recpack-train logs models/voc-2 --follow" in err
    ended("models/voc-2")


# ---- jobs that end in another way


def test_a_process_that_is_killed(fit: Fit, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BEHAVIOUR, "die")
    code, _, err = fit("--wait")
    assert code == 1
    assert "voc-1: failed: its process was killed, for want of memory" in err
    assert "the same fit command again, with --job-name voc-1, goes on from its last" in err
    # its number is now that of another process
    Path("models/voc-1/job.lock").write_text(f"{socket.gethostname()} {os.getpid()}")
    assert ended()["TrainingJobStatus"] == "Failed"
    code, _, err = typed("stop", "models/voc-1")
    assert code == 1
    assert "models/voc-1: it does not run (Failed)" in err
    monkeypatch.delenv(BEHAVIOUR)
    half_written = Path("models/voc-1/checkpoints/checkpoint.pt.0123456789abcdef")
    half_written.touch()
    code, out, err = fit("--wait")
    assert code == 0, err
    assert not half_written.exists()
    assert json.loads(out)["mAP"] == {"0": 0.1, "1": 0.2, "2": 0.3}
    log = Path("models/voc-1/log.txt").read_text().splitlines()
    assert [line for line in log if "begins" in line] == [
        "begins with epoch 0", "begins with epoch 1",
    ]  # fmt: skip
    assert len(json.loads(Path("models/voc-1/metrics.json").read_text())) == 3


def test_the_process_can_be_started_by_hand(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a scheduler would, for a job that was killed; but not beside itself."""
    code = (
        "from tests.support.local_jobs import local, train; local.train = train; "
        "raise SystemExit(local.main(['models/voc-1']))"
    )
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    monkeypatch.setenv(BEHAVIOUR, "hang")
    fit()
    job = LocalJob.at("models/voc-1")
    until(lambda: "mAP" in Path("models/voc-1/log.txt").read_text())
    second = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert "models/voc-1: this job runs" in second.stderr
    job.stop()
    job.stop()
    assert ended()["TrainingJobStatus"] == "Stopped"
    subprocess.run(command, env=environment, check=True)
    assert ended()["TrainingJobStatus"] == "Completed"
    job.wait()
    assert job.history() == {0: 0.1, 1: 0.2, 2: 0.3}


def test_a_failure(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BEHAVIOUR, "fail")
    assert fit()[0] == 0
    reason = ended()["FailureReason"]
    assert reason.startswith("ValueError: no luck no luck")
    assert len(reason) == 1024
    with pytest.raises(JobError, match="voc-1: failed: ValueError: no luck"):
        LocalJob.at("models/voc-1").wait()
    assert "Traceback (most recent call last)" in Path("models/voc-1/log.txt").read_text()


def test_a_full_disk(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log can't be written, the few bytes of its state can."""
    monkeypatch.setenv(BEHAVIOUR, "full")
    assert fit()[0] == 0
    assert ended()["FailureReason"] == "OSError: [Errno 28] No space left on device"


def test_a_start_that_is_interrupted_can_be_repeated(
    fit: Fit, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("train.local.write_description", _interrupt)
        assert fit()[0] == 130
    (models / "voc-1" / "job.json.0123456789abcdef").touch()
    code, _, err = fit("--wait")
    assert code == 0, err


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_stopping_keeps_the_model(fit: Fit, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BEHAVIOUR, "wait")
    assert fit()[0] == 0
    code, _, err = fit()
    assert code == 1
    assert "models/voc-1: this job runs; see recpack-train status models/voc-1" in err
    assert typed("stop", "models/voc-1")[0] == 0
    description = ended()
    assert description["TrainingJobStatus"] == "Stopped"
    with pytest.raises(JobError, match="stopped: it was told to stop; its model so far: models/vo"):
        LocalJob.at("models/voc-1").wait()
    monkeypatch.delenv(BEHAVIOUR)
    assert fit("--wait")[0] == 0
    assert not Path("models/voc-1/stop").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_that_does_not_stop_is_killed(
    fit: Fit, typed: Typed, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """After its time, or by a second stop."""
    monkeypatch.setenv(BEHAVIOUR, "hang")
    fit()
    job = LocalJob.at("models/voc-1")
    until(lambda: "mAP" in Path("models/voc-1/log.txt").read_text())
    for _ in range(times):
        assert str(job.status()) in ("InProgress: Training", "Stopping")
        typed("stop", "models/voc-1")
    description = ended()
    assert description["TrainingJobStatus"] == "Stopped"
    assert "killed before it had written its model" in description["FailureReason"]


def test_a_job_on_another_machine(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has the same folder; the process of that number here is another one."""
    monkeypatch.setenv(BEHAVIOUR, "hang")
    fit()
    lock, job = Path("models/voc-1/job.lock"), LocalJob.at("models/voc-1")
    until(lambda: "mAP" in Path("models/voc-1/log.txt").read_text())
    process = int(lock.read_text().split()[1])
    lock.write_text(f"another {os.getpid()}")
    job.stop()
    assert Path("models/voc-1/stop").exists()
    with pytest.raises(JobError, match="models/voc-1: it runs on another; stop it there"):
        job.stop()
    os.kill(process, signal.SIGKILL)
    ended()


def test_a_closed_terminal_ends_nothing(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BEHAVIOUR, "wait")
    fit()
    until(lambda: Path("models/voc-1/job.lock").read_text())
    process = int(Path("models/voc-1/job.lock").read_text().split()[1])
    assert os.getsid(process) == process != os.getsid(0)
    os.kill(process, signal.SIGTERM)  # as a machine that shuts down
    assert ended()["TrainingJobStatus"] == "Stopped"


def test_interrupting_the_wait(fit: Fit, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BEHAVIOUR, "wait")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(LocalJob.wait.__kwdefaults__, "sleep", interrupt)
    code, _, err = fit("--wait")
    assert code == 130
    assert "see recpack-train status models/voc-1, or wait: recpack-train logs models/voc-1" in err
    LocalJob.at(models / "voc-1").stop()
    ended()


@pytest.mark.parametrize(
    ("values", "words", "message"),
    [
        ({"epochs": 4}, [], "epochs: 3, now 4"),
        ({}, ["--seed", "7"], "seed: None, now 7"),
        ({"base_network": "resnet-50"}, [], "base_network: vgg-16, now resnet-50"),
    ],
)
def test_other_settings_under_the_same_name(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, values: Any, words: list[str], message: str
) -> None:
    monkeypatch.setenv(BEHAVIOUR, "fail")
    fit()
    ended()
    code, _, err = fit(*words, **values)
    assert code == 1
    assert "there is a job of this name with other settings" in err
    assert message in err
    assert fit("--workers", "1")[0] == 0  # which changes nothing
    ended()


def test_what_made_a_job_fail_at_its_start_can_be_corrected(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BEHAVIOUR, "refuse")
    code, _, err = fit("--seed", "7", "--wait")
    assert code == 1
    assert "seed: 7 is not liked here; choose 8" in err
    assert "Traceback" not in err
    monkeypatch.delenv(BEHAVIOUR)
    assert fit("--seed", "8", "--wait")[0] == 0


# ---- what is refused, before anything is written


def test_quiet(fit: Fit) -> None:
    assert "random weights" in fit("--dry-run")[2]
    code, out, err = fit("--dry-run", "-q")
    assert (code, err) == (0, "")
    assert json.loads(out)["TrainingJobName"] == "voc-1"


def test_names_that_are_empty() -> None:
    with pytest.raises(UsageError, match=r"^output: must not be empty$"):
        train.fit("train.rec", "val.rec", "", local=True)


def test_without_pytorch(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, out, err = fit()
    assert (code, out) == (1, "")
    assert "torch: not installed; pip install 'recpack[ssd]'" in err
    assert not Path("models").exists()


def test_a_dry_run(fit: Fit) -> None:
    code, out, _ = fit("--dry-run", "--seed", "3")
    assert code == 0
    assert json.loads(out)["Local"] == {
        "pretrained": None, "device": "cpu", "precision": "auto", "seed": 3, "processes": None,
        "workers": None, "endpoint_url": None,
    }  # fmt: skip
    assert not Path("models").exists()


def test_folders_that_are_no_jobs(fit: Fit, typed: Typed, models: Path) -> None:
    for verb in ("status", "logs", "stop"):
        code, _, err = typed(verb, "models/voc-1")
        assert code == 1
        assert "models/voc-1: there is no training job, no job.json" in err
    models.mkdir(exist_ok=True)
    (models / "voc-0").touch()
    code, _, err = fit(name="voc-0")
    assert code == 1
    assert "models/voc-0: can't be made" in err
    (models / "voc-1").mkdir(parents=True)
    (models / "voc-1" / "thesis.txt").touch()
    code, _, err = fit()
    assert code == 1
    assert "models/voc-1: it is there, and no job; choose another --job-name" in err
    (models / "voc-1" / "job.json").write_text("[]")
    code, _, err = typed("status", "models/voc-1")
    assert code == 1
    assert "job.json: this is not the description of a job" in err


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"use_pretrained_model": 1}, UsageError,
         "use_pretrained_model: 1, but there are no weights to start from"),
        ({"pretrained": "x.params"}, UsageError, "pretrained: with use_pretrained_model=0"),
        ({"pretrained": "x.params", "use_pretrained_model": 1}, SpecError, "no file x.params"),
        ({"pretrained": "x.npz", "use_pretrained_model": 1}, UsageError, "give a .params file"),
        ({"pretrained": "torchvision", "use_pretrained_model": 1, "base_network": "resnet-50"},
         UsageError, "torchvision has no weights for resnet-50"),
        ({"kv_store": "dist_sync"}, UsageError, "kv_store: only for jobs on SageMaker"),
        ({"spot": True, "instance_count": 2, "tags": {"a": "b"}}, UsageError,
         "instance_count, spot, tags: only for jobs on SageMaker; leave that out"),
        ({"network": train.Network(isolated=True)}, UsageError, "network: only for jobs on SageM"),
        ({"role": "arn"}, UsageError, "role: only for jobs on SageMaker"),
        ({"algorithm": "pytorch"}, UsageError, "algorithm: only for jobs on SageMaker"),
        ({"device": "tpu"}, UsageError, "device: 'tpu'; use auto, cpu, cuda"),
        ({"processes": 0}, UsageError, "processes: 0 is not an integer, 1 or more"),
        ({"job_name": "a/b"}, UsageError, "job_name: 'a/b'"),
        ({"mini_batch_size": 71}, SpecError, "mini_batch_size: 71, but train has 70 images"),
        ({"image_shape": 29}, UsageError, "image_shape: 29 is not an integer, 30 or more"),
        ({"label_width": 3}, SpecError, "label_width: 3, but the data needs"),
        ({"epoch": 3}, UsageError, "epoch: no such hyperparameter; did you mean epochs"),
        ({"model": "voc-9"}, SpecError, "there is no job voc-9 in models, and no file"),
        ({"model": "voc-9", "seed": "x"}, UsageError, "seed: 'x' is not an integer"),
    ],
)  # fmt: skip
def test_choices_that_are_refused(
    data: Path, models: Path, choices: dict[str, Any], error: type[TrainError], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")) as caught:
        train.fit(
            f"{data}/train.rec", f"{data}/val.rec", str(models), local=True, **SCRATCH | choices
        )
    assert type(caught.value) is error
    assert not models.exists()


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("places", "message"),
    [
        (("train.rec", "none.rec", "models"), "validation: .*none.rec"),
        (("train.lst", "val.rec", "models"), "train: .*train.lst; name a .rec file"),
        (("bare.rec", "val.rec", "models"), "train: .*bare.rec has no manifest beside it"),
        (("longer.rec", "val.rec", "models"), "train: .*longer.rec has .* it is another file"),
        (("train.rec", "val.rec", "s3://b/models"), "output: s3://b/models; a job on this machine"),
        (("train.rec", "val.rec", "gs://b/models"), "output: gs://b/models; a job on this machine"),
        (("train.rec", "other.rec", "models"), "the classes of the channels differ"),
    ],
)
def test_data_that_is_refused(
    data: Path, devkit: Path, places: tuple[str, str, str], message: str
) -> None:
    (data / "bare.rec").write_bytes((data / "train.rec").read_bytes())
    (data / "longer.rec").write_bytes((data / "train.rec").read_bytes() + bytes(8))
    (data / "longer.json").write_bytes((data / "train.json").read_bytes())
    if not (data / "other.rec").exists():
        other_order = list(reversed(recpack.VOC_CLASSES))
        recpack.convert(devkit, data / "other.rec", year="2012", classes=other_order, jobs=1)
    one, other, output = places
    with pytest.raises(SpecError, match=message):
        train.plan(f"{data}/{one}", f"{data}/{other}", output, local=True, **SCRATCH)


def test_the_same_images_twice(data: Path, models: Path) -> None:
    with pytest.warns(UserWarning, match="these are the images of train"):
        train.plan(f"{data}/train.rec", f"{data}/train.rec", str(models), local=True, **SCRATCH)


def test_the_model_to_continue_must_be_of_the_same_network_and_classes(
    fit: Fit,
) -> None:
    fit("--wait")
    code, _, err = fit("--model", "voc-1", name="voc-2", base_network="resnet-50")
    assert code == 1
    assert "base_network: the model to continue has vgg-16, but this job has resnet-50" in err
    record = Path("models/voc-1/recpack.json")
    values = json.loads(record.read_text())
    values["classes"][:2] = reversed(values["classes"][:2])
    record.write_text(json.dumps(values))
    code, _, err = fit("--model", "models/voc-1", name="voc-2")
    assert code == 1
    assert "the model to continue has bicycle, aeroplane" in err


def test_what_is_for_this_machine_alone(fit: Fit) -> None:
    places = "s3://b/train.rec", "s3://b/val.rec", "s3://b/models"
    with pytest.raises(UsageError, match=r"device, seed: .* add --local"):
        train.plan(*places, device="cpu", seed=1)
    fit("--wait")
    for model in ("models/voc-1", LocalJob.at("models/voc-1")):
        with pytest.raises(UsageError, match="models/voc-1 is on this machine"):
            train.plan(*places, model=model)
    with pytest.raises(UsageError, match="local: not for a tuning"):
        train.plan_tuning(*places, ranges={"momentum": "0.5..0.9"}, local=True)


# ---- the process


def test_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log = FileReader(tmp_path / "log.txt")
    assert log.new_lines() == []
    (tmp_path / "log.txt").write_bytes(b"one\ntw")
    assert log.new_lines() == ["one"]
    (tmp_path / "log.txt").write_bytes(b"one\ntwo \xff\r50 %\n")
    assert log.new_lines() == ["two \ufffd\r50 %"]
    assert log.new_lines() == []


@pytest.mark.usefixtures("models")
def test_a_script_called_train_does_not_hide_the_process(data: Path, tmp_path: Path) -> None:
    """It is found, and fails for want of weights (or of PyTorch)."""
    (tmp_path / "x.params").write_bytes(b"none")
    (tmp_path / "train.py").write_text(
        "import json, recpack\n"
        "print('hidden')\n"
        "if __name__ == '__main__':\n"
        f"    job = recpack.train.fit('{data}/train.rec', '{data}/val.rec', 'models', local=True,\n"
        "                             job_name='voc-1', mini_batch_size=8, pretrained='x.params')\n"
    )
    stub = "" if "torch" not in sys.modules or sys.modules["torch"] is not json else (
        "import sys, json; sys.modules['torch'] = json; "
    )  # fmt: skip
    run = f"{stub}import runpy; runpy.run_path('train.py', run_name='__main__')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    subprocess.run([sys.executable, "-c", run], check=True, env=environment, capture_output=True)
    description = ended()
    assert description["TrainingJobStatus"] == "Failed"
    assert "was killed" not in description["FailureReason"]
    assert "hidden" not in Path("models/voc-1/log.txt").read_text()


# ---- what others have trained


def archive(hyperparameters: dict[str, str] | None, text: str = "") -> bytes:
    """A ``model.tar.gz`` as SageMaker writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in (
            ("model_algo_1-0000.params", b"arrays"),
            ("hyperparams.json", (text or json.dumps(hyperparameters)).encode()),
        ):
            if data != b"null":
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


OF_SERVICE = {"base_network": "resnet-50", "num_classes": "20", "image_shape": "512"}


def test_data_and_a_model_of_sagemaker_on_s3(s3: S3Server) -> None:
    s3.objects[MODEL] = Blob(archive(OF_SERVICE), "0")
    for_record = {"classes": list(recpack.VOC_CLASSES), "data": {}}
    s3.objects[RECORD] = Blob(json.dumps(for_record).encode(), "0")
    plan = train.plan(
        TRAIN, VALIDATION, "models", local=True, mini_batch_size=8, model=f"s3://bucket/{MODEL}"
    )
    sent = plan.request
    assert sent["HyperParameters"]["base_network"] == "resnet-50"
    assert sent["HyperParameters"]["image_shape"] == "512"
    assert sent["HyperParameters"]["use_pretrained_model"] == "0"
    places = [one["DataSource"]["S3DataSource"]["S3Uri"] for one in sent["InputDataConfig"]]
    assert places == [TRAIN, VALIDATION, f"s3://bucket/{MODEL}"]
    for_record["classes"] = recpack.VOC_CLASSES[::-1]
    s3.objects[RECORD] = Blob(json.dumps(for_record).encode(), "0")
    with pytest.raises(SpecError, match="the model to continue has tvmonitor"):
        train.plan(TRAIN, VALIDATION, "models", local=True, mini_batch_size=8, model=places[2])
    with pytest.raises(SpecError, match=r"model: s3://bucket/none\.tar\.gz: "):
        train.plan(TRAIN, VALIDATION, "models", local=True, model="s3://bucket/none.tar.gz")


def test_a_model_that_is_a_file(data: Path, models: Path) -> None:
    def plan(**choices: Any) -> train.Plan:
        return train.plan(
            f"{data}/train.rec", f"{data}/val.rec", str(models), local=True, mini_batch_size=8,
            model="old.tar.gz", **choices,
        )  # fmt: skip

    Path("old.tar.gz").write_bytes(archive(OF_SERVICE))
    with pytest.warns(UserWarning, match="the classes of old.tar.gz can't be found"):
        assert plan().request["HyperParameters"]["base_network"] == "resnet-50"
    with (
        pytest.warns(UserWarning, match="can't be found"),
        pytest.raises(SpecError, match="base_network: the model to continue has resnet-50, but"),
    ):
        plan(base_network="vgg-16")
    with pytest.raises(UsageError, match="pretrained: the job goes on from a model"):
        plan(pretrained="torchvision")
    Path("old.tar.gz").write_bytes(archive(None))  # which can be: it fails later if it does not fit
    with pytest.warns(UserWarning, match="can't be found"):
        assert plan().request["HyperParameters"]["base_network"] == "vgg-16"
    for damaged, message in (
        (archive(OF_SERVICE)[:90], "this is no whole model.tar.gz"),
        (archive(None, 100_000 * "["), "hyperparams.json is no JSON object"),
    ):
        Path("old.tar.gz").write_bytes(damaged)
        with pytest.raises(SpecError, match=f"model: old.tar.gz: {message}"):
            plan()
