"""``recpack explain``, and the texts that the page of the codes shares with it."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from recpack.cli.app import main
from recpack.cli.parser import COMMANDS, parser_of
from recpack.explanations import EXPLANATIONS
from recpack.problems import CATALOGUE


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_an_example_and_remedies_that_can_be_typed(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    meaning, example, remedies = EXPLANATIONS[code]
    what, remedy, severity = CATALOGUE[code]
    assert meaning.lower().startswith(what.lower())
    assert meaning.endswith(".")
    assert remedies[0] == remedy
    for line in remedies[1:]:
        command = re.search(r"\brecpack [a-z0-9-]+ .*", line)
        assert command or not re.search(r"--[a-z]", line), "an option stands in a command"
        if command:
            words = shlex.split(command[0])[1:]
            assert parser_of("fork", words).parse_args(words).command == words[0]
    assert main(["explain", code]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{code} ({severity})\n")
    assert f"example: {example}\n" in out
    assert out.count("\n      recpack ") == sum(": recpack " in line for line in remedies)
    assert err == ""


def test_each_option_that_the_catalogue_names_exists() -> None:
    kinds = {command.settings: parser_of("fork", [command.name]) for command in COMMANDS}
    known = " ".join(
        sub.format_help()
        for parser in kinds.values()
        for action in parser._actions
        if isinstance(action.choices, dict)
        for sub in action.choices.values()
    )
    named = {flag for row in CATALOGUE.values() for flag in re.findall(r"--[a-z-]+", row.remedy)}
    assert len(named) > 5
    assert {flag for flag in named if not re.search(rf"{flag}\b", known)} == set()


def test_explain_without_a_code_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    rows = capsys.readouterr().out
    assert re.findall(r"^(\S+) +(?:error|warning|note) ", rows, re.M) == list(CATALOGUE)
    assert main(["explain", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["code"] for row in found] == list(CATALOGUE)
    assert found[0].keys() == {"code", "severity", "meaning", "example", "remedies"}


def test_an_unknown_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "image-leeked", "box-outside", "leaked", "zzz"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "recpack explain: 'image-leeked' is no problem code; did you mean 'image-leaked'?",
        "'leaked' is no problem code; did you mean 'image-leaked'?",
        "'zzz' is no problem code",
        "all codes: recpack explain",
    ]
    assert main(["explain", "image"]) == 2
    assert "'image' is no problem code; there are image-unlisted, image-" in capsys.readouterr().err
    assert main(["explain", "[box-outside]", "-q"]) == 0  # as pages write them
