"""The page on hosting: each of its commands runs against the stand-in, as one typed them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import recpack
from tests.support.devkits import jpeg
from tests.support.hosts import MODELS, Typed, connect, rest, trained
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
