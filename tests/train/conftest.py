"""Fixtures of these tests."""

from __future__ import annotations

import pytest

from tests.support.hosts import Typed
from train.cli import main


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command line."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run
