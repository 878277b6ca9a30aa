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


def calls_of_httpx(path: Path) -> list[ast.Call]:
    """Return every call that opens a connection with httpx, by whatever name it was imported."""
    tree = ast.parse(path.read_text())
    opening = {"Client", "AsyncClient", "request", "stream", "get", "post", "put", "patch", "delete", "head", "options"}
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "httpx"
        for alias in node.names
        if alias.name in opening
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(value=ast.Name(id="httpx"), attr=attr) if attr in opening:
                    found.append(node)
                case ast.Name(id=name) if name in names:
                    found.append(node)
    return found


def test_no_call_between_our_own_parts_uses_the_environments_proxy_or_leaves_a_certificate_unchecked() -> None:
    callers = []
    for folder in ("launcher", "operator", "frontend"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in calls_of_httpx(path):
                callers.append(str(path.relative_to(ROOT)))
                given = {each.arg: each.value for each in call.keywords}
                place = f"{path}:{call.lineno}"
                assert isinstance(given.get("trust_env"), ast.Constant), place
                assert ast.literal_eval(given["trust_env"]) is False, place
                verify = given.get("verify")
                assert not (isinstance(verify, ast.Constant) and verify.value is False), place
    assert sorted(callers) == ["frontend/connection.py", "launcher/cli/client.py"]


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
