"""What a person types wrong, and how she finds out: errors of three lines at most, help."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import recpack
import train.cli
from recpack.cli import app
from recpack.cli.parser import COMMANDS, GROUPS, parser_of
from recpack.command_line import Parser

pytestmark = pytest.mark.once

Typed = Callable[[str], tuple[int, str, str]]

CONVERT = "recpack convert d x.rec"
FIT = "recpack-train fit --train a --validation b --output c"


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """A line → its exit code, standard output and standard error, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def typed(line: str) -> tuple[int, str, str]:
        program, *words = shlex.split(line)
        main = app.main if program == "recpack" else train.cli.main
        try:
            code = main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return typed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("recpack nope", "recpack: unknown command 'nope'"),
        ("recpack covert a b", "unknown command 'covert'; did you mean 'convert'?"),
        ("recpack Convert", "did you mean 'convert'?"),
        ("recpack s3cleanup s3://b/x", "did you mean 's3-cleanup'?"),
        ("recpack .", "unknown command '.'; name the command first: recpack COMMAND ."),
        ("recpack help covert", "unknown command 'covert'; did you mean 'convert'?"),
        ("recpack --versio", "unknown option '--versio'; did you mean '--version'?"),
        (
            "recpack --quiet convert",
            "'--quiet'; write it after the command: recpack COMMAND --quiet",
        ),
        ("recpack -x", "unknown option '-x'"),
        ("recpack --json", "unknown option '--json'"),
        ("recpack convert", "recpack convert: missing: DEVKIT, OUT.rec"),
        ("recpack convert x", "recpack convert: missing: OUT.rec"),
        ("recpack convert --jbos 4", "unknown option '--jbos'; did you mean '--jobs'?"),
        ("recpack convert d x.rec --jbos=4", "unknown option '--jbos'; did you mean '--jobs'?"),
        ("recpack convert d x.rec --ove", "unknown option '--ove'; did you mean '--overwrite'?"),
        ("recpack convert d x.rec --bogus", "convert: unknown option '--bogus'\n"),
        ("recpack convert d x.rec -z3", "unknown option '-z3'"),
        (f"{CONVERT} --jobs", "--jobs: a value is missing"),
        (f"{CONVERT} --jobs=", "--jobs must be a whole number (got '')"),
        (f"{CONVERT} --jobs 1.5", "--jobs must be a whole number (got '1.5')"),
        (f"{CONVERT} -j many", "--jobs must be a whole number (got 'many')"),
        (f"{CONVERT} -j0", "--jobs must be at least 1 (got 0)"),
        (f"{CONVERT} -j -1", "--jobs must be at least 1 (got -1)"),
        (f"{CONVERT} --quiet=1", "--quiet: takes no value"),
        (f"{CONVERT} --from coc", "(got 'coc'); did you mean 'coco'?"),
        (f"{CONVERT} --to recc", "--to must be one of rec, augmented-manifest, image-json (got"),
        (f"{CONVERT} --shuffle 1 --no-shuffle", "--no-shuffle: not allowed with --shuffle"),
        (f"{CONVERT} --shuffle a", "--shuffle must be a whole number (got 'a')"),
        (f"{CONVERT} --shuffle -1", "--shuffle must be a seed from 0"),
        (f"{CONVERT} --split 0.8", "--split must be two or three fractions"),
        (f"{CONVERT} --precision 9", "--precision must be 1 to 6"),
        (f"{CONVERT} --quality 0", "--quality: 0; jpg takes 1 to 100"),
        (f"{CONVERT} --encoding jpeg", "--encoding must be one of jpg, png (got 'jpeg'); did you"),
        (f"{CONVERT} --color grey", "(got 'grey'); did you mean 'gray'?"),
        (f"{CONVERT} --negatives dorp", "(got 'dorp'); did you mean 'drop'?"),
        (f"{CONVERT} --segment-size many", "--segment-size must be bytes"),
        (f"{CONVERT} --resize big", "--resize must be a whole number"),
        (f"{CONVERT} --shards 0", "--shards must be 1 to 99,999 (got 0)"),
        (f"{CONVERT} --backend frok", "--backend must be one of fork, dask, ray, loky"),
        (f"{CONVERT} --backend threadng", "did you mean 'threading'?"),
        (f"{CONVERT} --scheduler tcp://h:1", "--scheduler: only dask has one; add --backend dask"),
        (f"{CONVERT} --sse AES256 --kms-key-id k", "with --sse AES256; use --sse aws:kms"),
        (f"{CONVERT} --checksum crc23", "did you mean 'crc32'?"),
        (f"{CONVERT} --endpoint-url host:9", "--endpoint-url must be http(s)://host:port (got"),
        (f"{CONVERT} --uploads 0", "--uploads must be 1 to 256 (got 0)"),
        (f"{CONVERT} --classes dog,dog", "--classes: classes named twice: dog"),
        (f"{CONVERT} --annotations A", "folder of the images too: --images DIR"),
        (f"{CONVERT} --report r.html", "--report: r.html: this report is JSON"),
        ("recpack convert d s3:///a.rec", "write s3://bucket/key"),
        *(
            (f"recpack {line}".replace("URL", f"{kind}://b/x"), f"writes no {kind}:// URLs; give a")
            for kind in ("gs", "file", "HTTPS")
            for line in (
                "convert d URL.rec",
                "convert d URL.rec --shards 2",
                "convert d URL/",
                "convert d URL.manifest",
                "convert URL x.rec",
                "convert a.zip URL x.rec",
                "check URL",
                "check d --report URL.html",
                "detect URL",
                "list d URL.lst",
                "pack URL.lst . x.rec",
                "merge URL.rec a.rec",
                "merge x.rec URL.rec",
                "shuffle URL.rec x.rec",
                "split URL.rec",
                "inspect URL.rec",
                "verify URL.rec",
                "index URL.rec",
                "unpack URL.rec x",
                "unpack x.rec URL",
                "preview URL.rec x.png",
                "preview x.rec URL.png",
                "demo URL",
                "download voc2007 URL --quiet",
            )
        ),
        ("recpack unpack x.rec s3://b/x", "s3://b/x is on S3; name a local folder"),
        ("recpack preview x.rec s3://b/x.png", "s3://b/x.png is on S3; name a local file"),
        ("recpack demo s3://b/x", "s3://b/x is on S3; name a local folder"),
        ("recpack download voc2007 s3://b/x -q", "s3://b/x is on S3; name a local folder"),
        ("recpack-train predict e i.jpg --draw gs://x", "--draw: gs://x is a URL; name a local"),
        ("recpack-train export m gs://b/x.onnx", "gs://b/x.onnx is a URL; name a local path"),
        ("recpack list d", "recpack list: missing: OUT.lst"),
        ("recpack pack a.lst", "recpack pack: missing: ROOT, OUT.rec"),
        ("recpack check", "recpack check: missing: DEVKIT"),
        ("recpack inspect a.rec --record x", "--record must be a whole number (got 'x')"),
        ("recpack inspect a.rec b.rec", "recpack inspect: 'b.rec' is one too many"),
        ("recpack verify a.rec --reader mxnt", "(got 'mxnt'); did you mean 'mxnet'?"),
        ("recpack verify a.rec --against a", "--against: 2 values are needed: LIST ROOT"),
        ("recpack merge out.rec", "recpack merge: missing: REC"),
        ("recpack shuffle a.rec b.rec --seed -1", "--seed must be 0 to 4294967295 (got -1)"),
        ("recpack split a.rec --fractions 2", "--fractions must be two or three fractions"),
        ("recpack filter a.rec b.rec", "--classes: missing, and so is --min-box"),
        ("recpack preview a.rec p.png --count 0", "--count must be 1 to 10,000 (got 0)"),
        ("recpack preview a.rec p.png --records 1 --count 2", "--count: not with records"),
        ("recpack split a.rec --split .8/.2", "'--split'; did you mean '--fractions'?"),
        (f"{CONVERT} --fractions .8/.2", "'--fractions'; did you mean '--split'?"),
        ("recpack convert d x.rec —classes auto", "with a long dash; write --classes\n"),
        ("recpack check d –from=voc", "begins with a long dash; write --from=voc\n"),
        ("recpack help convert extra", "recpack: 'extra' is one too many"),
        ("recpack-train -V extra", "recpack-train: 'extra' is one too many"),
        ("recpack download voc2099 d", "download: names: must be from"),
        ("recpack s3-cleanup s3://b/p/", "s3://b/p/: 'b' is no bucket's name"),
        ("recpack explain box", "'box' is no problem code; there are box-missing, box-"),
        ("recpack s3-cleanup notaurl", "write s3://bucket/key"),
        ("recpack download voc2008 x --quiet", "(got voc2008); did you mean 'voc2007'?"),
        ("recpack explain image-mising", "'image-mising' is no problem code; did you mean"),
        ("recpack completion", "recpack completion: missing: SHELL"),
        ("recpack completion fsh", "SHELL must be one of bash, zsh, fish (got 'fsh'); did"),
        ("recpack fit --train x", "'fit'; it is a command of recpack-train: recpack-train fit\n"),
        ("recpack-train detect x", "'detect'; it is a command of recpack: recpack detect\n"),
        ("recpack filter a.rec b.rec --min-side 5", "did you mean '--min-box'?"),
        ("recpack-train nope", "recpack-train: unknown command 'nope'"),
        ("recpack-train help fitt", "unknown command 'fitt'; did you mean 'fit'?"),
        ("recpack-train --region x status", "'--region'; write it after the command"),
        ("recpack-train fit", "recpack-train fit: missing: --train, --validation, --output"),
        ("recpack-train fit --trian x", "unknown option '--trian'; did you mean '--train'?"),
        ("recpack-train status --json", "recpack-train status: unknown option '--json'\n"),
        ("recpack-train status a b", "recpack-train status: 'b' is one too many"),
        (
            "recpack-train status --endpoint-url host:9",
            "--endpoint-url must be http(s)://host:port (got 'host:9')",
        ),
        ("recpack-train predict e", "recpack-train predict: missing: IMAGE"),
        ("recpack-train predict e x --threshold high", "--threshold must be a number (got 'high')"),
        ("recpack-train cost ml.m5.large --hours x", "--hours must be a number (got 'x')"),
        ("recpack-train deploy m --local --port 99999", "--port: '99999' is not a port"),
        ("recpack-train deploy m --local --serverless 1", "--serverless: not for --local"),
        (f"{FIT} --algorithm torch", "(got 'torch'); did you mean 'pytorch'?"),
        (f"{FIT} --volume-gb x", "--volume-gb: 'x' is not an integer"),
        (f"{FIT} --set epochs", "--set: 'epochs'; write name=value"),
        (f"{FIT} --local --precision bf61", "(got 'bf61'); did you mean"),
        ("recpack convert '' x.rec", "recpack convert: DEVKIT must not be empty"),
        ("recpack convert d ''", "recpack convert: OUT.rec must not be empty"),
        ("recpack-train predict e ''", "recpack-train predict: IMAGE must not be empty"),
        (f"{CONVERT} --set ''", "recpack convert: --set must not be empty"),
        (f"{CONVERT} --year=", "recpack convert: --year must not be empty"),
        (f"{CONVERT} --report ''", "recpack convert: --report must not be empty"),
        (f"{CONVERT} --endpoint-url ''", "recpack convert: --endpoint-url must not be empty"),
        ("recpack check d --images ''", "recpack check: --images must not be empty"),
        ("recpack verify a.rec --against l ''", "recpack verify: --against must not be empty"),
        ("recpack download '' d", "recpack download: NAME must not be empty"),
        (f"{FIT} --local --role ''", "recpack-train fit: --role must not be empty"),
        ("recpack-train fit --train ''", "recpack-train fit: --train must not be empty"),
        ("recpack-train status --region ''", "recpack-train status: --region must not be empty"),
        ("recpack ''", "recpack: unknown command ''"),
    ],
)
def test_wrong_usage_is_three_lines_and_exit_code_2(typed: Typed, line: str, message: str) -> None:
    code, out, err = typed(line)
    assert message in err
    assert (code, out) == (2, "") or line == "recpack --json"
    assert len(err.splitlines()) <= 3
    assert "usage:" not in err
    assert os.listdir() == []


@pytest.mark.parametrize(
    "line", [f"{CONVERT} --form voc", f"{CONVERT} --shards 0", "recpack verify", "recpack nope"]
)
def test_wrong_usage_is_json_too(typed: Typed, line: str) -> None:
    code, out, err = typed(f"{line} --json")
    found = json.loads(out)
    assert code == 2
    assert found["problems"] == []
    assert f": {found['error']}\n" in err


def test_what_is_missing_comes_with_an_example_and_where_the_help_is(typed: Typed) -> None:
    assert typed("recpack verify")[2].splitlines() == [
        "recpack verify: missing: REC",
        "example: recpack verify s3://bucket/prefix/train/train.rec",
        "help: recpack verify --help",
    ]


@pytest.mark.parametrize("program", ["recpack", "recpack-train"])
def test_the_program_alone_shows_its_commands_in_groups(typed: Typed, program: str) -> None:
    code, out, err = typed(program)
    assert (code, out) == (2, "")
    assert typed(f"{program} --help") == typed(f"{program} help") == (0, err, "")
    parser = parser_of("fork") if program == "recpack" else train.cli.parser()
    groups = GROUPS if program == "recpack" else train.cli.GROUPS
    shown = [name for names in groups.values() for name in names]
    assert len(set(shown)) == len(shown)
    assert set(commands(parser)) <= set(shown)
    for name in commands(parser):
        assert f"\n  {name} " in err
    assert all(f"\n{title}:\n" in err for title in groups)
    assert "-V, --version" in err


def commands(parser: Parser) -> dict[str, Parser]:
    (found,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    return found


@pytest.mark.parametrize("program", ["recpack", "recpack-train"])
def test_the_help_of_every_command(typed: Typed, program: str) -> None:
    parser = parser_of("fork") if program == "recpack" else train.cli.parser()
    for name in commands(parser):
        code, out, err = typed(f"{program} help {name}")
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: {program} {name} ")
        assert "\nexample:\n  " in out
        assert f"{program} " in out.partition("\nexample:\n")[2]
        if name != "help":
            assert typed(f"{program} {name} --help") == (0, out, "")
            assert typed(f"{program} {name} -h") == (0, out, "")


def test_the_usual_options_come_first(typed: Typed) -> None:
    _, out, _ = typed("recpack convert --help")
    jobs = "-j N, --jobs N" if sys.version_info < (3, 13) else "-j, --jobs N"
    assert out.startswith("usage: recpack convert [OPTIONS] DEVKIT [DEVKIT ...] OUT.rec\n\n")
    places = [out.index(f"\n  {text}") for text in (
        "DEVKIT ", "--from", "--set ", "--classes ", "--overwrite", jobs, "--to ",
        "--year ", "--backend ", "-h, --help", "-q, --quiet", "recpack convert VOCdevkit ",
    )]  # fmt: skip
    assert places == sorted(places)


@pytest.mark.parametrize("line", ["recpack -V", "recpack --version", "recpack-train -V"])
def test_the_version(typed: Typed, line: str) -> None:
    code, out, err = typed(line)
    assert (code, err) == (0, "")
    assert out == f"{line.split()[0]} {recpack.__version__}\n"


def test_short_options(typed: Typed, devkit: Path) -> None:
    assert typed(f"recpack convert {devkit} a.rec -qj2 --year 2012") == (0, "", "")
    assert typed("recpack verify a.rec -q -j1") == (0, "", "")


def test_every_command_with_workers_has_the_short_option() -> None:
    for command in COMMANDS:
        options = commands(parser_of("fork", [command.name]))[command.name]._option_string_actions
        assert ("--jobs" in options) == ("-j" in options), command.name


def test_names_that_the_data_do_not_have(typed: Typed, devkit: Path) -> None:
    for line, message in (
        (f"recpack convert {devkit} a.rec --set trianval", "did you mean 'trainval'?"),
        (f"recpack convert {devkit} a.rec --year 2021", "did you mean '2012'?"),
    ):
        code, out, err = typed(line)
        assert (code, out) == (1, "")
        assert message in err
    assert typed(f"recpack convert {devkit} a.rec -q --year 2012")[0] == 0
    code, _, err = typed("recpack filter a.rec b.rec --classes persom")
    assert code == 1
    assert "did you mean 'person'?" in err


def test_files_that_do_not_exist(typed: Typed, devkit: Path) -> None:
    """One exit code, and the most similar name, whatever the file is."""
    assert typed(f"recpack convert {devkit} train.rec -q --year 2012")[0] == 0
    Path("names.txt").write_text("person\n")
    for line, near in (
        ("recpack verify trian.rec", "'train.rec'"),
        ("recpack inspect trian.rec", "'train.rec'"),
        ("recpack preview trian.rec x.png", "'train.rec'"),
        ("recpack merge a.rec train.rec trian.rec", "'train.rec'"),
        (f"recpack pack trian.lst {devkit} a.rec", "'train.lst'"),
        (f"recpack verify train.rec --against trian.lst {devkit}", "'train.lst'"),
        (f"recpack convert {devkit} a.rec --classes nmaes.txt", "'names.txt'"),
        ("recpack filter train.rec a.rec --classes nmaes.txt", "'names.txt'"),
        (f"recpack list {devkit}/VOC2021/x a.lst", "'VOC2012'"),
        ("recpack-train fit --local --train trian.rec --validation x --output o", "'train.rec'"),
    ):
        code, out, err = typed(line)
        assert (code, out) == (1, ""), line
        assert err.endswith(f"; did you mean {near}?\n"), line


def test_packages_that_are_missing(
    typed: Typed, devkit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One exit code; as of PyTorch in tests/train/test_local.py."""
    for package in ("dask", "distributed", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    for backend in ("dask", "ray"):
        code, out, err = typed(f"recpack check {devkit} --backend {backend}")
        assert (code, out) == (1, "")
        assert f"backend: {backend} needs pip install 'recpack[{backend}]'" in err
