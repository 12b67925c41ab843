"""The pages on hosting and on image classification: each of their commands runs against the
stand-in, as one typed them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.cli.app import main as recpack_main
from tests.support.aws import Aws
from tests.support.devkits import jpeg
from tests.support.hosts import MODELS, Typed, connect, rest, trained
from tests.support.s3server import Blob, S3Server
from tests.test_docs import blocks, commands
from tests.train.test_batch import ANSWER, product

pytestmark = pytest.mark.once


def test_every_command_of_the_page(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = trained()
    aws.answers = [ANSWER]
    for job in ("voc-1", "voc-2"):
        aws.jobs[job] = {
            "TrainingJobName": job, "TrainingJobStatus": "Completed", "CreationTime": 1.0,
            "ModelArtifacts": {"S3ModelArtifacts": f"{MODELS}/{job}/output/model.tar.gz"},
        }  # fmt: skip
    aws.prices = [product("USE1-Host:ml.m5.xlarge", "0.25")]
    for name in ("a", "b"):
        aws.objects[f"bucket/photos/{name}.jpg"] = jpeg(40, 30)
    connect(monkeypatch, aws)
    rest(monkeypatch, lambda _: None)
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(jpeg(40, 30))
    Path("val.lst").write_text("0\t2\t5\t1\t0.1\t0.1\t0.5\t0.5\tphoto.jpg\n")
    recpack.pack("val.lst", ".", "val.rec", jobs=1)
    manifest = json.loads(Path("val.json").read_text())
    Path("val.json").write_text(json.dumps(manifest | {"classes": ["cat", "dog"]}))
    ran = set()
    for language, text in blocks("docs/howto/hosting.md"):
        assert language == "sh"
        for words in commands(text):
            code, _, err = typed(*words[1:])
            assert code == 0, f"{words}\n{err}"
            ran.add(words[1])
    assert ran == {"cost", "deploy", "predict", "evaluate", "endpoints", "delete", "transform",
                   "results"}  # fmt: skip
    assert aws.models == {}
    assert Path("drawn.png").exists()
    assert Path("drawn/a.jpg").exists()


def test_every_command_of_image_classification(
    aws: Aws, s3: S3Server, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder to an endpoint that is measured; SageMaker's answer is the same for all."""
    aws.answers = [b"[0.75, 0.25]"]
    aws.logs = {
        f"animals-{number}/algo-1": ["[x INFO 1] Epoch[0] Validation-accuracy=0.5"]
        for number in (1, 2)
    }
    rest(monkeypatch, lambda _: None)
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        Path("photos", name).mkdir(parents=True)
        for number in range(10):
            Path("photos", name, f"{number}.jpg").write_bytes(jpeg(40 + number, 30 + ord(name[0])))
    Path("cat.jpg").write_bytes(jpeg(40, 30))
    ran: set[str] = set()
    told: dict[str, Any] = {}
    for language, text in blocks("docs/howto/train-classification.md"):
        assert language == "sh"
        for words in commands(text):
            ran.add(words[1])
            if words[0] == "recpack":
                assert recpack_main([*words[1:], "--quiet"]) == 0, words
                continue
            code, out, err = typed(*words[1:])
            assert (code, "warning" in err) == (0, False), f"{words}\n{err}"
            told[words[1]] = json.loads(out) if out else None
            if words[1] == "fit":
                key = f"animals/models/{told['fit']['job']}/output/model.tar.gz"
                s3.objects[key] = Blob(b"model", "0")
    assert ran == {"convert", "fit", "deploy", "predict", "evaluate", "delete", "tune"}
    assert told["fit"]["accuracy"] == {"0": 0.5}
    assert [one["class"] for one in told["predict"]] == ["cat"]
    assert told["evaluate"] == {
        "accuracy": 0.5, "top_2_accuracy": 1.0, "recall": {"cat": 1.0, "dog": 0.0},
    }  # fmt: skip
    assert told["tune"]["best"]["accuracy"] == 0.5
    assert aws.jobs["animals-2"]["HyperParameters"]["num_layers"] == "50"
    assert Path("cat.png").exists()
    assert (aws.models, aws.configs) == ({}, {})
