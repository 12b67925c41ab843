from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import recpack
from recpack.cli.app import main
from recpack.demo.story import make_devkit
from recpack.formats.image_codec import decode
from tests.support.devkits import jpeg, xml


def run(*arguments: str | Path) -> int:
    try:
        return main([os.fspath(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_convert_inspect_list_pack(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", devkit, tmp_path / "a.rec", "--year", "2012", "--jobs", "2") == 0
    out, err = capsys.readouterr()
    assert "samples      50" in out
    assert err == ""
    assert run("list", devkit, tmp_path / "b.lst", "--year", "2012") == 0
    assert run("pack", tmp_path / "b.lst", devkit, tmp_path / "b.rec", "--classes", "voc") == 0
    for suffix in (".rec", ".idx", ".lst"):
        left, right = (tmp_path / f"{stem}{suffix}" for stem in "ab")
        assert left.read_bytes() == right.read_bytes()
    capsys.readouterr()
    assert run("inspect", tmp_path / "a.rec") == 0
    out = capsys.readouterr().out
    assert "records             50" in out
    assert "jpeg 50" in out
    for title in ("objects by class", "objects per record", "box side"):
        assert f"\n{title}" in out
    assert run("inspect", tmp_path / "a.rec", "--record", "7") == 0
    assert capsys.readouterr().out.split()[:2] == ["id", "7"]


def test_json_is_one_object_on_standard_output(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(*arguments: str | Path) -> Any:
        capsys.readouterr()
        assert run(*arguments, "--json") == 0
        return json.loads(capsys.readouterr().out)

    converted = outcome("convert", devkit, tmp_path / "a.rec")
    assert converted["manifest"] == json.loads((tmp_path / "a.json").read_text())
    assert converted["output"] == str(tmp_path / "a.rec")
    found = outcome("inspect", tmp_path / "a.rec")
    assert found["records"] == 120
    assert sum(found["classes"].values()) == found["objects_total"]
    assert sum(found["box_sides"].values()) == found["objects_total"]
    assert sum(found["objects_per_record"].values()) == 120
    one = outcome("inspect", tmp_path / "a.rec", "--record", "3")
    with recpack.RecordReader(tmp_path / "a.rec") as records:
        record = records[3]
    assert one["id"] == 3
    assert one["offset"] == record.offset
    assert len(one["boxes"]) == len(record.boxes)
    assert one["boxes"][0]["class"] in recpack.VOC_CLASSES
    assert one["image"]["kind"] == "jpeg"
    listed = outcome("list", devkit, tmp_path / "l.lst")
    assert listed["manifest"]["rec"]["name"] is None
    dry = outcome("convert", devkit, tmp_path / "z.rec", "--dry-run")
    assert dry["manifest"]["num_samples"] == 120
    assert not (tmp_path / "z.rec").exists()


def test_quiet_prints_nothing(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", devkit, tmp_path / "a.rec", "--quiet") == 0
    assert run("inspect", tmp_path / "a.rec", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


IMAGE = "DEVKIT/VOC2007/JPEGImages/2007_000001.jpg"
SET = "DEVKIT/VOC2007/ImageSets/Main/trainval.txt"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["convert", "nowhere", "a.rec"], 1, "nowhere: no such folder"),
        (["convert", "DEVKIT", "a.txt"], 2, "must end in .rec"),
        (["convert", "DEVKIT", "s3:///a.rec"], 2, "write s3://bucket/key"),
        (["convert", "DEVKIT", "S3://bucket/a.rec"], 2, "write s3://bucket/key"),
        (["convert", "DEVKIT", "a.rec", "--report", "s3://b/r.json"], 2, "name a local file"),
        (["check", "DEVKIT", "--report", "s3://bucket/r.json"], 2, "name a local file"),
        (["verify", "s3:/bucket/a.rec"], 2, "write s3://bucket/key"),
        (["convert", "DEVKIT", "a.rec", "--year", "1999"], 1, "no folder VOC1999; the years are"),
        (["convert", "DEVKIT", "a.rec", "--set", "nope"], 1, "choose with --set from: trainval"),
        (["convert", "DEVKIT", "a.rec", "--classes", "dog,dog"], 2, "named twice: dog"),
        (["convert", "DEVKIT", "a.rec", "--classes", "dog"], 1, "unknown class 'person'"),
        (["convert", "DEVKIT", "a.rec", "--quality", "0"], 2, "jpg takes 1 to 100"),
        (["convert", "DEVKIT", "a.rec", "--jobs", "none"], 2, "--jobs must be a whole number"),
        (["convert", "DEVKIT", "a.rec", "--jobs", "0"], 2, ": --jobs must be at least 1 (got 0)"),
        (["convert", "DEVKIT", "b/", "--split", ".5/.5"], 2, ": --split: only for a .rec"),
        (["convert", "DEVKIT", "a.rec", "--prec", "4"], 2, "unknown option '--prec'; did you mean"),
        (["convert", "DEVKIT"], 2, "convert: missing: OUT.rec"),
        (["frobnicate"], 2, "unknown command 'frobnicate'"),
        (["convert", "DEVKIT", "a.rec", "--backend", "x", "--segment-size", "64KiB"], 2, "backend"),
        (["inspect", "nowhere.rec"], 1, "nowhere.rec: No such file"),
        (["inspect", IMAGE], 1, "no record at byte 0"),
        (["pack", "nowhere.lst", "DEVKIT", "a.rec"], 1, "nowhere.lst: can't be read"),
        (["preview", "DEVKIT", "a.png"], 1, "a folder, not a file; recpack detect"),
        (["pack", IMAGE, "DEVKIT", "a.rec"], 1, "can't be read: it is a picture, not a list"),
        (["pack", SET, IMAGE, "a.rec"], 1, ".jpg: not a tar archive: it is a picture"),
        (["pack", "DEVKIT", SET, "a.rec"], 1, "trainval.txt: not a tar archive: it is a text"),
        (["convert", "DEVKIT", "a.rec", "--classes", IMAGE], 1, "it is a picture; name a list of"),
    ],
)
def test_mistakes_are_explained(
    devkit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [argument.replace("DEVKIT", str(devkit)) for argument in arguments]
    assert run(*named) == code
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", devkit, tmp_path / "a.rec") == 0
    before = (tmp_path / "a.rec").read_bytes()
    assert run("convert", devkit, tmp_path / "a.rec", "--shuffle", "5") == 1
    assert "a.rec exists" in capsys.readouterr().err
    assert (tmp_path / "a.rec").read_bytes() == before
    assert run("convert", devkit, tmp_path / "a.rec", "--shuffle", "5", "--overwrite") == 0
    assert (tmp_path / "a.rec").read_bytes() != before


@pytest.mark.parametrize(
    ("output", "report", "code"),
    [
        ("a.rec", "a.json", 2),
        ("a.rec", "a.lst", 2),
        ("b.rec", "a.json", 2),  # of an output that is there
        ("b.rec", "b.json", 2),
        ("b.rec", "b.rec", 2),
        ("b.rec", "elsewhere/b.json", 1),  # a link to the folder
        ("b.manifest", "b.manifest", 1),
    ],
)
def test_a_report_never_takes_the_place_of_an_output(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    output: str, report: str, code: int,
) -> None:  # fmt: skip
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    assert run("convert", devkit, tmp_path / "a.rec", "--quiet") == 0
    words = ("convert", devkit, tmp_path / output, "--report", tmp_path / report)
    options = ("--overwrite",) if output.endswith(".rec") else ("--images-url", "s3://bucket/x")
    assert run(*words, *options) == code
    assert f"{tmp_path / report}" in capsys.readouterr().err
    assert run("verify", tmp_path / "a.rec") == 0
    assert (tmp_path / output).exists() == (code == 1 or output == "a.rec")
    if code == 1 and output == "b.rec":
        assert run("verify", tmp_path / output) == 0
    elif code == 1:
        assert "problem_counts" not in (tmp_path / output).read_text()
    if report == "a.json":
        assert run("check", devkit, "--report", tmp_path / report) == 2
        assert run("verify", tmp_path / "a.rec") == 0


def test_a_report_replaces_only_a_report(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("r.json", "r.html"):
        report = tmp_path / name
        report.touch()  # as mktemp does
        for _ in range(2):
            assert run("check", devkit, "--report", report, "-q") == 0
        report.write_text('{"images": []}')
        for command in (["check", devkit], ["convert", devkit, tmp_path / "a.rec"]):
            if command[0] == "check" or name == "r.json":
                assert run(*command, "--report", report) == 1
                assert f"{report} exists, and is no report of" in capsys.readouterr().err
        assert report.read_text() == '{"images": []}'
    for _ in range(2):
        words = ("convert", devkit, tmp_path / "a.rec", "--overwrite", "-q")
        assert run(*words, "--report", tmp_path / "problems.json") == 0


def test_an_output_whose_name_is_not_text(devkit: Path, tmp_path: Path) -> None:
    output = tmp_path / os.fsdecode(b"by\xff.rec")
    assert run("convert", devkit, output) == 0
    assert run("verify", output) == 0


def test_failures_are_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / "d" / name).mkdir(parents=True)
    (tmp_path / "d" / "JPEGImages" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "d" / "Annotations" / "a.xml").write_text(xml(60, 40, "<object></object>"))
    assert run("convert", tmp_path / "d", tmp_path / "a.rec", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problems"][0]["code"] == "name-missing"
    assert found["problems"][0]["file"] == "Annotations/a.xml"


@pytest.mark.parametrize("command", ["convert", "list", "pack", "inspect", "demo"])
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--help") == 0
    out = capsys.readouterr().out
    assert f"example:\n  recpack {command}" in out
    assert "--json" in out
    assert "--quiet" in out


def test_inspect_has_no_such_record(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", devkit, tmp_path / "a.rec") == 0
    assert run("inspect", tmp_path / "a.rec", "--record", "120") == 1
    assert "no record 120; there are 120, from 0" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, 0.5, -7])
def test_inspect_shows_what_no_writer_should_have_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    from tests.support.devkits import encode_record

    label = [2, 5, value, value, 0.1, 0.2, 0.3, 1, 0.1, 0.1, 0.2, 0.2]
    (tmp_path / "a.rec").write_bytes(encode_record(0, label, b"no image"))
    assert run("inspect", tmp_path / "a.rec") == 0
    assert "unreadable 1" in capsys.readouterr().out
    assert run("inspect", tmp_path / "a.rec", "--record", "0", "--json") == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert len(found["boxes"]) == 2
    assert run("inspect", tmp_path / "a.rec", "--record", "0") == 0


@pytest.mark.slow
def test_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of what the tutorial has, which a test of the pages makes."""
    monkeypatch.setattr("recpack.demo.story.make_devkit", partial(make_devkit, images=50))
    assert run("demo", tmp_path / "demo") == 0
    told = capsys.readouterr().out
    assert "none missing" in told
    for file in ("preview.png", "check.html"):
        assert f"  {tmp_path / 'demo' / file}  " in told
        assert (tmp_path / "demo" / file).exists()
    assert ("python -m recpack.demo.tour" in told) == (find_spec("torch") is not None)
    first = (tmp_path / "demo" / "train.rec").read_bytes()
    with recpack.RecordReader(tmp_path / "demo" / "train.rec") as records:
        assert len(records) == 40
    assert decode((tmp_path / "demo" / "preview.png").read_bytes()).shape[1] > 1000
    assert run("demo", tmp_path / "demo") == 1
    assert "not empty" in capsys.readouterr().err
    assert run("demo", tmp_path / "demo", "--overwrite", "--quiet") == 0
    assert (tmp_path / "demo" / "train.rec").read_bytes() == first


def test_a_bar_is_drawn_on_a_terminal_only(devkit: Path, tmp_path: Path) -> None:
    output = tmp_path / "my a.rec"

    def convert(stream: int) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "recpack", "convert", str(devkit), str(output)]
        return subprocess.run([*command, "--overwrite"], stdout=stream, stderr=stream, check=True)

    done = convert(subprocess.PIPE)
    assert done.stderr == b""
    assert b"preview" not in done.stdout
    ours, theirs = pty.openpty()
    convert(theirs)
    os.close(theirs)
    drawn = b""
    try:
        while piece := os.read(ours, 4096):
            drawn += piece
    except OSError:
        pass
    os.close(ours)
    assert b"120/120" in drawn
    assert b"images/s" in drawn
    assert b"MB/s" in drawn
    assert f"look at it: recpack preview '{output}' sheet.png".encode() in drawn


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["check DEVKIT", "convert DEVKIT REC --segment-size 1MiB"])
def test_closed_standard_streams(devkit: Path, tmp_path: Path, command: str, closed: str) -> None:
    named = command.replace("DEVKIT", str(devkit)).replace("REC", f"{tmp_path}/a.rec")
    line = f"{sys.executable} -m recpack {named} {closed}"
    run = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error(devkit: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m recpack convert {devkit} {tmp_path}/a.rec --json | head -c 1"
    run = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert run.stdout == "{"
    assert "Traceback" not in run.stderr


def test_other_channels_are_warned_of(
    devkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", str(devkit), str(tmp_path / "a.rec"), "--year", "2012", "--color", "gray"]
    assert main(command) == 0
    assert "SageMaker's own algorithm does not" in capsys.readouterr().err
    assert recpack.Manifest.read(tmp_path / "a.json").options["color"] == "gray"
    with pytest.raises(recpack.DataError, match="1-channel jpeg"):
        recpack.verify(tmp_path / "a.rec", reader="sagemaker")
