"""Texts from outside are shown harmless, and secrets not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import recpack
from recpack.display import harmless, hide_secrets, one_line
from recpack.errors import ConfigError
from recpack.problem_lines import quarantine_lines
from recpack.storage.s3.client import S3Client
from recpack.storage.s3.location import Location
from recpack.storage.s3.objects import head
from tests.cli.test_cli import run
from tests.support.devkits import box_xml, jpeg, xml
from train.cli import main as train_main

pytestmark = pytest.mark.once

CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
NAME = "a\x1b]0;t\x07\rb\u202ec\x9b1m\nwrote  train.rec"
CLASS = "do\u2066g\x9b31m\u2028x"


@pytest.mark.parametrize("code", [0, 7, 0x1B, 0x0D, 0x7F, 0x9B, 0x85, 0x2028, 0x202E, 0x2069])
def test_control_characters_are_seen(code: int) -> None:
    assert harmless(f"a{chr(code)}b\n") == f"a\\u{code:04x}b\n"
    assert json.loads(harmless(json.dumps(chr(code), ensure_ascii=False))) == chr(code)


def test_other_characters_stay() -> None:
    text = "Ünïcødé 図 \U0001f600 \u200d עברית\tx\n"
    assert harmless(text) == text
    assert one_line(text) == text.replace("\t", "\\u0009").replace("\n", "\\u000a")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://user:pa@ss@host:9/b?x=1", "at https://…host:9/b?x=1"),
        ("'https://user:pa/ss@host/b'", "'https://…host/b'"),
        ("tcp://u:p@host:8786", "tcp://…host:8786"),
        ("https://h/k?X-Amz-Signature=abc&X-Amz-Date=1", "https://h/k?…&X-Amz-Date=1"),
        ("https://h/k?AWSAccessKeyId=A&Signature=a%2Fb", "https://h/k?…&…"),
        ("s3://bucket/a@b.jpg, user@host", "s3://bucket/a@b.jpg, user@host"),
        ("https://host:9/b", "https://host:9/b"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert hide_secrets(text) == harmless(text) == shown


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Names that want to move the cursor and to look like our own lines."""
    folder = tmp_path / "data"
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    (folder / "JPEGImages" / f"{NAME}.jpg").write_bytes(jpeg())
    objects = box_xml(CLASS, (1, 1, 9, 9)) + box_xml("dog", (5, 5, 1, 9))
    (folder / "Annotations" / f"{NAME}.xml").write_text(xml(60, 40, objects))
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "check D --report R.html", "check D --report R.json --classes auto",
        "convert D O.rec --report R.json", "convert D O.rec --classes auto",
        "convert D O.rec --unknown-class skip --box-policy error",
        "convert D O.rec --unknown-class skip --box-policy error --on-error skip",
        "list D O.lst --classes auto",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["", " --json"])
def test_names_of_files_and_classes(
    strange: Path, capsys: pytest.CaptureFixture[str], words: str, form: str
) -> None:
    folder = str(strange.parent)
    places = {"D": str(strange), "O": f"{folder}/o", "R": f"{folder}/r"}
    line = [re.sub(r"^[DOR](?=$|\.)", lambda m: places[m[0]], word) for word in words.split()]
    run(*line, *form.split())
    out, err = capsys.readouterr()
    texts = [out, err]
    texts += [path.read_text() for path in strange.parent.glob("r.*")]
    assert "".join(texts)
    for text in texts:
        assert not CONTROL.search(text), text
    if form:
        text = json.dumps(json.loads(out))
        assert json.dumps(CLASS)[1:-1] in text or json.dumps(NAME)[1:-1] in text
    else:
        assert not re.search("^wrote  train.rec", out + err, re.MULTILINE)


def test_the_quarantine_list_has_a_line_for_each_problem(strange: Path) -> None:
    problems = recpack.check(strange, classes="dog", box_policy="error", on_error="skip").problems
    rows = quarantine_lines(problems)
    assert len(rows) >= 1
    for row in rows:
        assert row.count("\t") == 4
        assert row.count("\n") == 1
        assert not CONTROL.search(row)


PASSWORD = "hunter2"
URL = f"https://user:{PASSWORD}@127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["verify", "s3://bucket/a.rec", "--endpoint-url", URL], 2),
        (["convert", "x", "s3://bucket/a.rec", "--endpoint-url", URL, "--json"], 2),
        (["verify", "a.rec", "--endpoint-url", URL], 2),
        (["verify", "s3://bucket/a.rec", "--endpoint", URL], 2),
        (["download", "voc2007", "x", "--mirror", f"http://u:{PASSWORD}@h/"], 2),
        (["inspect", f"{URL}/a.rec"], 2),
    ],
)
def test_a_password_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], code: int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*words) == code
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err
    if "--endpoint-url" in words:
        assert "--endpoint-url: has a user name or a password" in err
        assert "set AWS_ACCESS_KEY_ID" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", [URL, f"user:{PASSWORD}@host", f"http://u:{PASSWORD}/x@h"])
@pytest.mark.parametrize("given", [True, False])
def test_a_password_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch, url: str, given: bool
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9" if given else url)
    with pytest.raises(ConfigError, match="has a user name or a password") as caught:
        head(S3Client(url if given else None), Location("bucket", "a"))
    assert PASSWORD not in f"{caught.value}{caught.value.__cause__}"


def test_errors_of_botocore_hide_what_their_url_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import EndpointConnectionError

    def fail(*_: object, **__: object) -> None:
        raise EndpointConnectionError(endpoint_url=f"{URL}/b?X-Amz-Signature={PASSWORD}")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", fail)
    with pytest.raises(OSError, match=r"https://…127\.0\.0\.1:9/b\?…") as caught:
        head(S3Client("http://127.0.0.1:9"), Location("bucket", "a"), patience=0)
    assert PASSWORD not in str(caught.value)


def test_a_password_for_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_main(["status", "x", "--region", "us-east-1", "--endpoint-url", URL]) == 2
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err
    assert "--endpoint-url: has a user name or a password" in err
