"""What Vercel takes for the application."""

from __future__ import annotations

import ast
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_vercel_finds_one_application_and_it_is_not_hidden_by_another() -> None:
    """It takes the first of these files that names one at its top: app.py must not, for it cannot be imported there."""

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
