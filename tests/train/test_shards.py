"""A set of shards as a channel: all of its files, and no others."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest

import recpack
from tests.support.aws import Aws
from tests.support.hosts import Typed
from tests.support.jobs import DATA, RECORD, VALIDATION
from tests.support.s3server import Blob, S3Server
from tests.support.sets import one_manifest

pytestmark = pytest.mark.once

SET = "s3://bucket/sets/train/voc.rec"
SHARDS = [f"sets/train/voc-0000{number}-of-00002.rec" for number in range(2)]
MANIFEST = "sets/_recpack/voc.json"
PYTORCH = ("--algorithm", "pytorch", "--set", "use_pretrained_model=0")


@pytest.fixture(scope="module")
def shards(packed: dict[str, Blob]) -> dict[str, Blob]:
    """The objects of both channels once more, as the shards of one set."""
    objects, parts = {}, []
    for number, name in enumerate(("train", "val")):
        manifest = json.loads(packed[f"voc/_recpack/{name}.json"].data)
        manifest["rec"]["name"] = SHARDS[number].rpartition("/")[2]
        objects[SHARDS[number]] = packed[f"voc/{name}/{name}.rec"]
        parts.append((manifest, bytes(objects[SHARDS[number]].data)))
    return objects | {MANIFEST: Blob(one_manifest(parts, "voc.rec"), "0")}


@pytest.fixture
def sets(aws: Aws, s3: S3Server, shards: dict[str, Blob]) -> S3Server:
    del aws
    s3.objects |= deepcopy(shards)
    return s3


def fit(typed: Typed, *options: str, train: str = SET) -> tuple[int, str, str]:
    rest = ("--validation", VALIDATION, *DATA[4:], "--job-name", "voc-1")
    return typed("fit", "--train", train, *rest, *options)


@pytest.mark.parametrize("train", [SET, "s3://bucket/sets/train", "s3://bucket/sets/train/"])
def test_recpacks_own_algorithm_takes_a_set(
    aws: Aws, sets: S3Server, typed: Typed, train: str
) -> None:
    code, _, err = fit(typed, *PYTORCH, train=train)
    assert code == 0, err
    request = aws.jobs["voc-1"]
    source = request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    assert (source["S3DataType"], source["S3Uri"]) == ("S3Prefix", "s3://bucket/sets/train/")
    assert request["HyperParameters"]["num_training_samples"] == "120"
    record = json.loads(sets.objects[RECORD].data)["data"]["train"]
    size = sum(len(sets.objects[key].data) for key in SHARDS)
    assert (record["rec"], record["bytes"], record["samples"]) == (SET, size, 120)


def test_sagemakers_algorithms_take_one_file(aws: Aws, sets: S3Server, typed: Typed) -> None:
    before = set(sets.objects)
    code, out, err = fit(typed)
    assert (code, out) == (1, "")
    assert f"train: {SET} is a set of 2 shards, and SageMaker's algorithm takes one .rec" in err
    assert f"recpack merge s3://bucket/sets/train-merged/voc.rec {SET}" in err
    assert "or add --algorithm pytorch" in err
    assert (aws.jobs, set(sets.objects)) == ({}, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gone", f"train: {SHARDS[1]}: not there, and the manifest of {SET} names it"),
        ("more", "sets/train/voc-00002-of-00003.rec: not of s3://bucket/sets/train/voc.rec"),
        ("other", "3 objects are below s3://bucket/sets/train/, and the service would use all"),
        ("cut", f"s3://bucket/{SHARDS[1]} has "),
        ("changed", f"s3://bucket/{SHARDS[0]} has crc32:"),
        ("unnamed", "has no manifest, s3://bucket/sets/_recpack/voc.json"),
        ("one", "train: sets/train/voc.rec: not there, and the manifest of"),
    ],
)
def test_files_that_are_not_just_the_set(
    aws: Aws, sets: S3Server, typed: Typed, change: str, message: str
) -> None:
    objects = sets.objects
    if change == "gone":
        del objects[SHARDS[1]]
    elif change == "more":
        objects["sets/train/voc-00002-of-00003.rec"] = deepcopy(objects[SHARDS[1]])
    elif change == "other":
        objects["sets/train/notes.txt"] = Blob(b"x", "0")
    elif change == "cut":
        objects[SHARDS[1]].data = objects[SHARDS[1]].data[:-4]
    elif change == "changed":
        objects[SHARDS[0]].headers["x-amz-checksum-crc32"] = "AAAAAA=="
    elif change == "unnamed":
        del objects[MANIFEST]
    else:
        manifest = json.loads(objects[MANIFEST].data)
        objects[MANIFEST].data = json.dumps(manifest | {"shards": []}).encode()
    before = set(objects)
    code, out, err = fit(typed, *PYTORCH)
    assert (code, out) == (1, "")
    assert message in err
    assert (aws.jobs, set(objects)) == ({}, before)


def test_this_machine_takes_a_set(devkit: Path, typed: Typed, tmp_path: Path) -> None:
    parts = []
    for number, year in enumerate(("2007", "2012")):
        path = tmp_path / f"voc-0000{number}-of-00002.rec"
        recpack.convert(devkit, path, year=year, classes="voc", jobs=1)
        manifest = path.with_suffix(".json")
        parts.append((json.loads(manifest.read_text()), path.read_bytes()))
        manifest.unlink()
    (tmp_path / "voc.json").write_bytes(one_manifest(parts, "voc.rec"))
    place = str(tmp_path / "voc.rec")
    words = ("fit", "--local", "--train", place, "--validation", place, "--output", str(tmp_path))
    code, out, err = typed(*words, "--dry-run")
    assert code == 0, err
    request = json.loads(out)
    assert request["HyperParameters"]["num_training_samples"] == "120"
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == place
    path.write_bytes(path.read_bytes()[:-4])
    code, out, err = typed(*words, "--dry-run")
    assert (code, out) == (1, "")
    assert f"train: {path} has " in err
    assert "it is another file" in err
