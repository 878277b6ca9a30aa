"""Conventions of the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path for name in ("launcher", "operator/pipeline_operator") for path in (ROOT / name).rglob("*.py"))


def test_python_starts_in_the_root_of_the_repository() -> None:
    """`operator/__init__.py` would shadow the standard library for any Python that is started here."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    subprocess.run([sys.executable, "-I", "-c", "import collections"], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-c", "import collections, json.tool"], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_a_docstring_and_is_not_too_long(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def httpx_calls(path: Path) -> list[ast.Call]:
    """Return every call that opens a connection with httpx, whatever its imported name."""
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


def test_internal_calls_ignore_proxy_settings_and_verify_certificates() -> None:
    callers = []
    for folder in ("launcher", "operator", "frontend"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in httpx_calls(path):
                callers.append(str(path.relative_to(ROOT)))
                given = {each.arg: each.value for each in call.keywords}
                location = f"{path}:{call.lineno}"
                assert isinstance(given.get("trust_env"), ast.Constant), location
                assert ast.literal_eval(given["trust_env"]) is False, location
                verify = given.get("verify")
                assert not (isinstance(verify, ast.Constant) and verify.value is False), location
    assert sorted(callers) == ["frontend/connection.py", "launcher/cli/client.py"]


CLIENT = """
import sys
def size():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
import aiohttp, pydantic
before = size()
import launcher.cluster.client
unwanted = [name for name in sys.modules if name.startswith("kubernetes.") and (".models." in name or ".api." in name)]
unwanted += {"requests", "oauthlib", "websocket"} & sys.modules.keys()
print(size() - before, len(unwanted), *unwanted[:3])
"""


def test_the_kubernetes_client_imports_neither_the_typed_api_nor_the_synchronous_client() -> None:
    """The typed API costs 187 MiB per process."""
    done = subprocess.run([sys.executable, "-c", CLIENT], cwd=ROOT, check=True, capture_output=True, text=True)
    kibibytes, unwanted, *_ = done.stdout.split()
    assert int(unwanted) == 0, done.stdout
    assert int(kibibytes) < 30 << 10
