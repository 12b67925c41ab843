"""The locked requirements are those of pyproject.toml, and have hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
EXTRAS: dict[str, set[str]] = {
    "run": set(),
    "demo": {"demo"},
    "dev": {"demo", "test", "lint", "docs"},
    "test": {"demo", "test", "bench", "dask", "ray", "torch", "ssd", "readers", "lint"},
    "peers": {"demo", "test"},
}


def locked(name: str) -> list[Requirement]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = text.replace("\\\n", "").splitlines()
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", entry), entry
    return [Requirement(entry.partition(" --hash")[0]) for entry in entries]


@pytest.mark.parametrize("name", EXTRAS)
def test_every_requirement_is_locked(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for one in EXTRAS[name] for line in extras[one])]
    for python in ("3.11", "3.12"):
        environment = default_environment() | {"python_version": python, "extra": ""}
        environment["python_full_version"] = f"{python}.0"
        found = {
            one.name: next(iter(one.specifier)).version
            for one in locked(name)
            if one.marker is None or one.marker.evaluate(dict(environment))
        }
        for requirement in map(Requirement, wanted):
            if requirement.name != "recpack":
                assert requirement.name.lower() in found, f"{requirement.name}: run make lock"
                assert requirement.specifier.contains(found[requirement.name.lower()]), requirement


def test_no_dependency_lets_an_untested_major_version_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        assert any(one.operator == "<" for one in requirement.specifier), requirement
