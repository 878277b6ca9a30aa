"""Conventions that hold the house together."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path for name in ("launcher", "operator/pipeline_operator") for path in (ROOT / name).rglob("*.py"))


def test_python_starts_in_the_root_of_the_repository() -> None:
    """A folder `operator/` with an `__init__.py` would shadow the standard library for everyone who stands here."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    subprocess.run([sys.executable, "-I", "-c", "import collections"], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-c", "import collections, json.tool"], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_lives_in_it_and_is_not_too_long(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "misc"}


CLIENT = """
import sys
def size():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
import aiohttp, pydantic
before = size()
import launcher.cluster.client
dear = [name for name in sys.modules if name.startswith("kubernetes.") and (".models." in name or ".api." in name)]
dear += {"requests", "oauthlib", "websocket"} & sys.modules.keys()
print(size() - before, len(dear), *dear[:3])
"""


def test_the_kubernetes_client_imports_neither_the_typed_api_which_costs_187_mib_nor_the_synchronous_client() -> None:
    done = subprocess.run([sys.executable, "-c", CLIENT], cwd=ROOT, check=True, capture_output=True, text=True)
    kibibytes, dear, *_ = done.stdout.split()
    assert int(dear) == 0, done.stdout
    assert int(kibibytes) < 30 << 10
