"""The lock file of each component, compared with the complete one and with what the component requires."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
BASE: list[str] = PYPROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
FIX = "This lock file is out of date. Run: make lock"


def locked(file: str) -> dict[str, set[tuple[str, str, frozenset[str]]]]:
    """Each package's versions, with their markers and hashes."""
    found: dict[str, set[tuple[str, str, frozenset[str]]]] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", (ROOT / file).read_text()):
        requirement = Requirement(entry.split("\\")[0].strip())
        hashes = frozenset(re.findall(r"--hash=(\S+)", entry))
        pin = (str(requirement.specifier), str(requirement.marker or ""), hashes)
        found.setdefault(canonicalize_name(requirement.name), set()).add(pin)
    return found


def needed(requirements: list[str]) -> set[str]:
    """All packages that these require on this machine, including themselves."""
    found: set[str] = set()
    done: set[tuple[str, str]] = set()
    left = [(Requirement(text), "") for text in requirements]
    while left:
        requirement, extra = left.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in done:
                done.add((name, wanted))
                left += [(Requirement(text), wanted) for text in requires(name) or []]
    return found


@pytest.mark.parametrize(
    ("file", "requirements"),
    [
        ("requirements.lock", [*BASE, *(each for name, extra in EXTRAS.items() if name != "all" for each in extra)]),
        ("requirements-launcher.lock", [*BASE, *EXTRAS["launcher"], *EXTRAS["operator"]]),
        ("requirements-pipeline.lock", EXTRAS["pipeline"]),
        ("frontend/requirements.txt", EXTRAS["frontend"]),
        ("requirements-build.lock", PYPROJECT["build-system"]["requires"]),
    ],
)
def test_a_lock_file_contains_exactly_what_its_component_requires(file: str, requirements: list[str]) -> None:
    pins = locked(file)
    assert all(hashes for versions in pins.values() for _, _, hashes in versions)
    if "build" in file:  # none of it is installed here
        assert {canonicalize_name(Requirement(each).name) for each in requirements} <= pins.keys(), FIX
        return
    here = {
        name
        for name, versions in pins.items()
        if any(not marker or Requirement(f"{name}; {marker}").marker.evaluate() for _, marker, _ in versions)  # type: ignore[union-attr]
    }
    assert here == needed(requirements), FIX


@pytest.mark.parametrize(
    "file", ["requirements-launcher.lock", "requirements-pipeline.lock", "frontend/requirements.txt"]
)
def test_a_components_lock_file_has_the_versions_and_hashes_of_the_complete_one(file: str) -> None:
    whole = locked("requirements.lock")
    for name, versions in locked(file).items():
        assert {(version, hashes) for version, _, hashes in versions} <= {
            (version, hashes) for version, _, hashes in whole[name]
        }, FIX


def test_the_extra_all_names_every_other_extra() -> None:
    [every] = EXTRAS["all"]
    assert Requirement(every).extras == EXTRAS.keys() - {"all"}
    assert canonicalize_name(Requirement(every).name) == PYPROJECT["project"]["name"]
