"""frontend/requirements.txt, which Vercel installs, matches the lock file and the dependencies."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
FIX = "frontend/requirements.txt is out of date: run make lock"


def locked(file: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Each package's line and its hashes."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", file.read_text()):
        line = entry.split("\\")[0].strip()
        found[canonicalize_name(Requirement(line).name)] = (line, frozenset(re.findall(r"--hash=(\S+)", entry)))
    return found


def needed(names: list[str]) -> set[str]:
    """These packages and all their dependencies on this machine."""
    found: set[str] = set()
    left = [Requirement(name) for name in names]
    while left:
        name = canonicalize_name(left.pop().name)
        if name not in found:
            found.add(name)
            each = [Requirement(text) for text in requires(name) or []]
            left += [one for one in each if not one.marker or one.marker.evaluate({"extra": ""})]
    return found


def test_requirements_are_the_locked_dependencies() -> None:
    exported, all_locked = locked(ROOT / "frontend/requirements.txt"), locked(ROOT / "requirements.lock")
    for name, (line, hashes) in exported.items():
        assert (line.split()[0], hashes) == (all_locked[name][0].split()[0], all_locked[name][1]), FIX
        assert hashes
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    here = {name for name, (line, _) in exported.items() if not (mark := Requirement(line).marker) or mark.evaluate()}
    assert here == needed(project["optional-dependencies"]["frontend"]), FIX


def test_vercel_finds_the_application_in_index() -> None:
    """Vercel uses the first file that defines one at top level; app.py must not, as it cannot be imported there."""

    def names(file: str) -> set[str]:
        found = set()
        for node in ast.parse((ROOT / "frontend" / file).read_text()).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                    found |= {each.asname or each.name for each in imported}
        return found & {"app", "application", "handler"}

    assert names("index.py") == {"app"}
    assert not names("app.py")
    assert json.loads((ROOT / "frontend/vercel.json").read_text())["framework"] == "flask"
