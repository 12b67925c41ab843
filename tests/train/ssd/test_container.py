"""The container contract, with the real process and real folders, FIFOs and signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recpack
from recpack.demo.story import CLASSES
from tests.train.ssd.models import build_thin, packed, small_model
from train.errors import TrainError
from train.logs import Metric, parse_metric
from train.script_mode import PROGRAM, script_request
from train.ssd import container
from train.ssd.artifact import Model, read_model, write_files
from train.ssd.contract import Container
from train.ssd.mxnet_files import write_arrays
from train.ssd.pipes import Pipes

HYPERPARAMETERS = {
    "num_classes": "3", "num_training_samples": "8", "base_network": "resnet-18",
    "image_shape": "64", "mini_batch_size": "4", "epochs": "1", "use_pretrained_model": "0",
}  # fmt: skip
LOG_LINE = r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|ERROR) \d+\] "


@pytest.fixture(scope="module")
def rec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of three classes."""
    return packed(tmp_path_factory.mktemp("pictures"), 8)


def _on_one_core() -> None:
    """More processes would each import torch, to read eight pictures."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


Train = Callable[["Root"], tuple[int, str]]


@pytest.fixture
def trained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains a thin network in this process, which has imported torch: the exit code and the
    log."""
    monkeypatch.setattr("train.ssd.weights.build", build_thin)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})

    def run(root: Root) -> tuple[int, str]:
        code = container.train(Container(root.path))
        return code, capsys.readouterr().out

    return run


class Root:
    """A container's folders, and what has run in them."""

    def __init__(self, path: Path, **hyperparameters: str) -> None:
        self.path = path
        self.config("hyperparameters", HYPERPARAMETERS | hyperparameters)
        for folder in ("input/data", "model", "output"):
            (path / folder).mkdir(parents=True, exist_ok=True)

    def config(self, name: str, settings: Mapping[str, Any]) -> None:
        path = self.path / "input" / "config" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))

    def channels(self, mode: str, *names: str) -> None:
        settings = {"TrainingInputMode": mode, "S3DistributionType": "FullyReplicated",
                    "RecordWrapperType": "None"}  # fmt: skip
        self.config("inputdataconfig", dict.fromkeys(names, settings))

    def link(self, channel: str, file: Path, name: str = "") -> None:
        folder = self.path / "input" / "data" / channel
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (name or file.name)).symlink_to(file)

    def start(self, command: str = "train", **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "train.ssd", command, "--root", self.path],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            preexec_fn=_on_one_core,
        )  # fmt: skip

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def failure(self) -> str | None:
        path = self.path / "output" / "failure"
        return path.read_text() if path.exists() else None


def metrics(out: str) -> dict[str, list[Metric]]:
    found: dict[str, list[Metric]] = {}
    for line in out.splitlines():
        metric = parse_metric(line)
        if metric is not None:
            found.setdefault(metric.name, []).append(metric)
    return found


@pytest.fixture
def root(tmp_path: Path, rec: Path) -> Root:
    made = Root(tmp_path / "ml")
    made.channels("File", "train", "validation")
    for channel in ("train", "validation"):
        made.link(channel, rec)
    return made


def shards(root: Root, said: int) -> None:
    """The records of the channel in two shards of a set that has so many."""
    (file,) = (root.path / "input/data/train").iterdir()
    with recpack.RecordReader(file) as reader:
        records = list(reader)
    file.unlink()
    for number, part in enumerate((records[:3], records[3:])):
        with recpack.RecordWriter(file.with_name(f"a-0000{number}-of-0000{said}.rec")) as writer:
            for record in part:
                writer.write(record.image_bytes, record.boxes)


# ---- training


def test_a_set_of_shards_is_a_channel(root: Root, trained: Train) -> None:
    """They lie alone in the channel's folder, without the manifest of the set."""
    shards(root, 2)
    code, out = trained(root)
    assert code == 0, out
    assert len(metrics(out)["mAP"]) == 1


@pytest.mark.slow
def test_a_job_its_interruption_and_the_next(
    root: Root, trained: Train, tmp_path: Path, rec: Path
) -> None:
    (root.path / "checkpoints").mkdir()
    code, out = trained(root)
    assert code == 0, out
    assert root.failure is None
    assert [one.epoch for one in metrics(out)["mAP"]] == [0]
    assert metrics(out)["progress"][-1].value == 100
    assert all(re.match(LOG_LINE, line) for line in out.splitlines() if "#" in line)
    assert sorted(path.name for path in root.model.iterdir()) == [
        "hyperparams.json", "model_algo_1-0000.params", "model_algo_1-symbol.json"
    ]  # fmt: skip
    # a spot machine that comes back: the same folders, and its state
    root.config("hyperparameters", HYPERPARAMETERS | {"epochs": "2"})
    code, out = trained(root)
    assert code == 0, out
    assert [one.epoch for one in metrics(out)["mAP"]] == [1]
    # the next job, in script mode
    following = Root(tmp_path / "next")
    sent = script_request(
        {"TrainingJobName": "j", "AlgorithmSpecification": {},
         "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
         "HyperParameters": HYPERPARAMETERS | {"freeze_layer_pattern": "^(conv0|bn0)_"}},
        "us-east-1",
    )["HyperParameters"]  # fmt: skip
    assert PROGRAM in sent["sagemaker_program"]
    following.config("hyperparameters", sent | {"_tuning_objective_metric": "validation:mAP"})
    for channel in ("train", "validation"):
        following.link(channel, rec)
    archive = tmp_path / "a-model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in root.model.iterdir():
            tar.add(path, path.name)
    following.link("model", archive)
    code, out = trained(following)
    assert code == 0, out
    before, after = read_model(root.model), read_model(following.model)
    name = "arg:conv0_weight"
    assert (before.arrays[name] == after.arrays[name]).all(), "it is frozen"
    assert after.hyperparameters["freeze_layer_pattern"] == "^(conv0|bn0)_"


class Writer(threading.Thread):
    """SageMaker's side of Pipe mode: the FIFO of each epoch, made late, once for each that is
    opened; ``stalls`` after so many bytes of the last."""

    def __init__(self, folder: Path, channel: str, data: bytes, epochs: int = 9) -> None:
        super().__init__(daemon=True)
        self.folder, self.channel, self.data, self.epochs = folder, channel, data, epochs
        self.written: list[int] = []
        self.stalls: int | None = None

    def run(self) -> None:
        for epoch in range(self.epochs):
            time.sleep(0.2)
            path = self.folder / f"{self.channel}_{epoch}"
            try:
                os.mkfifo(path)
                with open(path, "wb") as file:
                    file.write(self.data[: self.stalls])
                    file.flush()
                    if self.stalls is not None:
                        time.sleep(600)
            except BrokenPipeError:
                pass  # closed early, as a reader may
            except FileNotFoundError:
                return  # the test has ended
            self.written.append(epoch)


def piped(root: Root, rec: Path, epochs: int = 9) -> Writer:
    root.channels("Pipe", "train", "validation")
    data = root.path / "input" / "data"
    for channel in ("train", "validation"):
        for path in (data / channel).iterdir():
            path.unlink()
        (data / channel).rmdir()
    Writer(data, "validation", rec.read_bytes()).start()
    writer = Writer(data, "train", rec.read_bytes(), epochs)
    writer.start()
    return writer


@pytest.mark.slow
def test_pipe_mode(root: Root, trained: Train, rec: Path) -> None:
    root.config("hyperparameters", HYPERPARAMETERS | {"epochs": "2"})
    writer = piped(root, rec)
    code, out = trained(root)
    assert code == 0, out
    assert [one.epoch for one in metrics(out)["mAP"]] == [0, 1]
    assert writer.written[:2] == [0, 1]


@pytest.mark.slow
def test_images_with_json_files(root: Root, trained: Train, tmp_path: Path, rec: Path) -> None:
    recpack.convert(
        rec.parent / "devkit", f"{tmp_path / 'images'}/", output_format="image-json",
        set="trainval", classes=CLASSES,
    )  # fmt: skip
    data = root.path / "input" / "data"
    for channel in ("train", "validation"):
        (data / channel / "pictures.rec").unlink()
        for end in ("", "_annotation"):
            shutil.copytree(
                f"{tmp_path / 'images'}{end}", data / f"{channel}{end}", dirs_exist_ok=True
            )
    names = [f"{one}{end}" for one in ("train", "validation") for end in ("", "_annotation")]
    root.channels("File", *names)
    code, out = trained(root)
    assert code == 0, out
    assert "train: 6 images of ball, box, cone" in out
    assert [one.epoch for one in metrics(out)["mAP"]] == [0]
    root.config("hyperparameters", HYPERPARAMETERS | {"num_classes": "2"})
    assert trained(root)[0] == 2
    assert root.failure is not None
    assert "num_classes: 2, but train_annotation has 3 classes: ball, box, cone" in root.failure


def lines_until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


@pytest.mark.slow
def test_sigterm_ends_it_with_the_model_so_far(root: Root) -> None:
    root.config("hyperparameters", HYPERPARAMETERS | {"epochs": "1000"})
    process = root.start()
    lines_until(process, "validation mAP")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert read_model(root.model).hyperparameters["num_classes"] == "3"
    assert root.failure is None


@pytest.mark.slow
def test_sigterm_while_no_data_comes(root: Root, rec: Path) -> None:
    """One that waits for a FIFO ends at once, one whose FIFO stalls after the grace."""
    root.config("hyperparameters", HYPERPARAMETERS | {"epochs": "3"})
    piped(root, rec, epochs=1)
    process = root.start()
    lines_until(process, "completed")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert read_model(root.model).arrays


@pytest.mark.slow
def test_sigterm_while_the_data_stalls(root: Root, rec: Path) -> None:
    writer = piped(root, rec, epochs=1)
    writer.stalls = 5000
    (root.model / "model_algo_1-0000.params").write_bytes(b"of the last epoch")
    (root.model / f"model_algo_1-0000.params.{'0a' * 8}").write_bytes(b"half of a n")
    script = (
        "import sys; from train.ssd import container; container._GRACE = 1;"
        "sys.exit(container.main(['train', '--root', sys.argv[1]]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", script, root.path], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, preexec_fn=_on_one_core,
    )  # fmt: skip
    lines_until(process, "Final configuration")
    time.sleep(5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert [path.name for path in root.model.iterdir()] == ["model_algo_1-0000.params"]


class Machines:
    """Two machines of one job, on this one."""

    def __init__(self, first: Root, folder: Path, rec: Path, **hyperparameters: str) -> None:
        self.roots = [first, Root(folder)]
        hosts = ["127.0.0.1", "localhost"]
        for one, host in zip(self.roots, hosts, strict=True):
            one.config("hyperparameters", HYPERPARAMETERS | hyperparameters)
            network = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
            one.config("resourceconfig", network)
        for channel in ("train", "validation"):
            self.roots[1].link(channel, rec)

    def start(self, port: int) -> list[subprocess.Popen[str]]:
        return [one.start(MASTER_PORT=str(port)) for one in self.roots]


@pytest.mark.slow
def test_two_machines_train_one_model_until_they_are_stopped(
    root: Root, tmp_path: Path, rec: Path, port: int
) -> None:
    machines = Machines(root, tmp_path / "second", rec, epochs="1000")
    processes = machines.start(port)
    lines = lines_until(processes[0], "validation mAP")
    assert "Starting 1 processes on each of 2 machines" in "".join(lines)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    outs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outs)
    assert metrics(outs[1]) == {}, "the first one reports"
    assert read_model(root.model).arrays
    assert list(machines.roots[1].model.iterdir()) == []
    assert [one.failure for one in machines.roots] == [None, None]


@pytest.mark.slow
def test_two_machines_tell_what_the_user_can_repair(
    root: Root, tmp_path: Path, rec: Path, port: int
) -> None:
    machines = Machines(root, tmp_path / "second", rec, mini_batch_size="5")
    processes = machines.start(port)
    outs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], "\n".join(outs)
    for one in machines.roots:
        assert one.failure is not None
        assert one.failure.startswith("ClientError: mini_batch_size: 5 can't be divided among 2")


# ---- pipes


def waiting(folder: Path, **options: Any) -> str:
    with pytest.raises(TrainError) as caught:
        Pipes(folder, "train", **{"patience": 0.3, **options})(0)
    return str(caught.value)


def test_pipes_that_do_not_come(tmp_path: Path) -> None:
    path = tmp_path / "train_0"
    assert waiting(tmp_path) == f"{path}: it did not come in 0 seconds"
    assert waiting(tmp_path, patience=60, stopped=lambda: True) == f"{path}: told to stop"
    os.mkfifo(path)
    assert waiting(tmp_path) == f"{path}: it sent nothing in 0 seconds"
    path.unlink()
    path.write_bytes(b"a file")
    assert waiting(tmp_path) == f"{path} is no FIFO; is this channel in File mode?"


def test_each_call_opens_the_next_pipe(tmp_path: Path) -> None:
    """Also when a training goes on in its tenth epoch; a FIFO can be empty."""
    for text in ("a", ""):
        Writer(tmp_path, "train", text.encode(), epochs=2).start()
        pipes = Pipes(tmp_path, "train")
        for epoch in (10, 11):
            with pipes(epoch) as stream:
                assert stream.read() == text.encode()
        for epoch in (0, 1):
            (tmp_path / f"train_{epoch}").unlink()


# ---- what fails


def refused(root: Root, trained: Train) -> tuple[int, str]:
    """The exit code and the failure."""
    code, out = trained(root)
    assert root.failure is not None
    assert root.failure.splitlines()[0] in out
    return code, root.failure


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        (
            {"mini_batch_siz": "4"},
            "mini_batch_siz: no such hyperparameter; did you mean mini_batch",
        ),
        ({"epochs": "many"}, "epochs: 'many' is not an integer, 1 or more"),
        ({"num_classes": ""}, "num_classes: this hyperparameter is required"),
        ({"kv_store": "dist_async"}, "kv_store: dist_async; the machines train in step here"),
        ({"use_pretrained_model": "1"}, "use_pretrained_model: 1, but there is no channel"),
        ({"base_network": "vgg-19"}, "base_network: 'vgg-19' is not one of vgg-16"),
    ],
)
def test_hyperparameters_that_are_refused(
    root: Root, trained: Train, hyperparameters: dict[str, str], message: str
) -> None:
    root.config("hyperparameters", HYPERPARAMETERS | hyperparameters)
    code, failure = refused(root, trained)
    assert code == 2
    assert failure.startswith(f"ClientError: {message}")


def test_what_a_job_does_not_say(root: Root) -> None:
    """Defaults of the built-in algorithm; the names that are SageMaker's own are left out."""
    required = {"num_classes": "3", "num_training_samples": "8"}
    more = {
        "_tuning_objective_metric": "",
        "sagemaker_region": "us-east-1",
        "kv_store": "",
    }
    root.config("hyperparameters", required | more)
    learning = Container(root.path).hyperparameters
    assert (learning.label_width, learning.use_pretrained_model, learning.epochs) == (350, 0, 30)
    root.link("pretrained", root.path / "no-such-file")
    root.channels("File", "train", "validation", "pretrained")
    assert Container(root.path).hyperparameters.use_pretrained_model == 1
    root.config("hyperparameters", {"num_classes": "3"})
    with pytest.raises(recpack.train.UsageError, match="num_training_samples: this hyperpar"):
        Container(root.path).hyperparameters  # noqa: B018


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: root.channels("File", "train", "valid"),
         "validation: there is no such channel; those of this job are train, valid"),
        (lambda root: root.link("train", root.path / "x", "second.rec"),
         "train: 2 files, and there must be one, or all shards of one set: pictures.rec, second"),
        (lambda root: shards(root, 3),
         "train: 2 files, and there must be one, or all shards of one set: a-00000-of-00003.rec"),
        (lambda root: (root.path / "input/data/train/pictures.rec").unlink(),
         "train: there is no .rec in"),
        (lambda root: (root.path / "input/config/hyperparameters.json").write_text("{"),
         "hyperparameters.json: can't be read"),
        (lambda root: (root.path / "input/config/hyperparameters.json").write_text("[]"),
         "hyperparameters.json: can't be read: Expected `object`, got `array`"),
        (lambda root: root.config("inputdataconfig", {"train": None, "validation": "File"}),
         "inputdataconfig.json: can't be read: Expected `object`"),
        (lambda root: root.config("resourceconfig", {"hosts": "algo-1"}),
         "resourceconfig.json: can't be read: Expected `array`, got `str` - at `$.hosts`"),
        (lambda root: root.config("resourceconfig", {"hosts": ["a", "b"], "current_host": "c"}),
         "current_host: 'c' is none of a, b"),
        (lambda root: root.link("train", root.path / "x", os.fsdecode(b"\xff.rec")),
         r"2 files, and there must be one, or all shards of one set: pictures.rec, \udcff.rec"),
        (lambda root: root.config(
            "inputdataconfig", {"train": {"RecordWrapperType": "RecordIO",
                                          "TrainingInputMode": "Pipe"}, "validation": {}}),
         "train: augmented manifests are read by the built-in algorithm only"),
    ],
)  # fmt: skip
def test_channels_that_are_refused(root: Root, trained: Train, change: Any, message: str) -> None:
    change(root)
    code, failure = refused(root, trained)
    assert code == 2
    assert failure.startswith("ClientError: ")
    assert message in failure


def test_weights_of_another_network(root: Root, trained: Train) -> None:
    """A file in the channel ``pretrained`` is what the training starts from."""
    weights = root.path / "w.params"
    weights.write_bytes(write_arrays({"arg:other_weight": np.zeros(3, np.float32)}))
    root.link("pretrained", weights)
    root.channels("File", "train", "validation", "pretrained")
    root.config(
        "hyperparameters",
        {k: v for k, v in HYPERPARAMETERS.items() if k != "use_pretrained_model"},
    )
    code, failure = refused(root, trained)
    assert code == 2
    assert failure.startswith("ClientError: pretrained: of 21 layers of resnet-18 it has 0")


def test_a_model_of_other_classes(root: Root, trained: Train) -> None:
    """Its files, as SageMaker can have taken them out of the archive."""
    model = small_model(classes=4)
    folder = root.path / "input" / "data" / "model"
    folder.mkdir()
    hyperparameters = HYPERPARAMETERS | {"num_classes": "4"}
    write_files(folder, Model(model.symbol, model.arrays, hyperparameters))
    root.channels("File", "train", "validation", "model")
    code, failure = refused(root, trained)
    assert code == 2
    assert failure.startswith("ClientError: num_classes: the model to continue has 4, but this job")


def test_data_that_is_none(root: Root, trained: Train) -> None:
    path = root.path / "input" / "data" / "train" / "pictures.rec"
    path.unlink()
    path.write_bytes(b"rubbish" * 100)
    code, failure = refused(root, trained)
    assert (code, failure[:12]) == (2, "ClientError:")
    assert str(path) in failure


def test_a_fault_that_is_not_the_users(root: Root, trained: Train) -> None:
    """A long text is cut as SageMaker cuts it; the log has all of it."""
    root.model.rmdir()
    root.model.write_bytes(b"")
    code, failure = refused(root, trained)
    assert (code, failure[:32]) == (1, "AlgorithmError: FileExistsError:")
    root.path.joinpath("output", "failure").unlink()
    Container(root.path).write_failure("x" * 2000)
    assert root.failure == "x" * 1024
    Container(root.path).write_failure("y")
    assert root.failure == "x" * 1024, "the first process has told it"


def test_a_failure_that_can_not_be_written_is_in_the_log(root: Root, trained: Train) -> None:
    output = root.path / "output"
    (output / "failure").mkdir()
    code, out = trained(root)
    assert (code, "AlgorithmError: IsADirectoryError" in out) == (1, True)
    shutil.rmtree(output)
    output.touch()
    code, out = trained(root)
    assert (code, "AlgorithmError: NotADirectoryError" in out) == (1, True)


# ---- serving


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
def test_serving(root: Root, port: int) -> None:
    write_files(root.model, small_model())
    process = root.start("serve", SAGEMAKER_BIND_TO_PORT=str(port))
    lines_until(process, "serving at")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out


def test_serving_without_a_model(root: Root, port: int) -> None:
    process = root.start("serve", SAGEMAKER_BIND_TO_PORT=str(port))
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "ClientError: " in out
    assert "no model of MXNet is in it" in out
