"""What the tests of archives share."""

from __future__ import annotations

from pathlib import Path

import pytest

import recpack
from tests.support.archives import made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the indices of archives are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "recpack"


@pytest.fixture(scope="session")
def expected(devkit: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that the folder gives, by their suffixes."""
    folder = tmp_path_factory.mktemp("expected")
    recpack.convert(devkit, folder / "x.rec")
    return made(folder)
