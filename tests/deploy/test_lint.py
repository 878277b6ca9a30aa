"""shellcheck and actionlint on every script and workflow; actions are pinned to full SHAs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def scripts() -> list[Path]:
    """Return every shell script of the project, by its first line, and sourced files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix in ("", ".sh"):
            first = path.read_bytes().split(b"\n", 1)[0]
            if re.match(rb"#!.*\b(ba)?sh\b|# shellcheck shell=", first):
                found.append(path)
    return found


def test_shellcheck_passes(programs: Path) -> None:
    found = scripts()
    assert len(found) > 15
    # SC2164: all scripts use `set -e`, so a failed cd ends them; sourced files inherit it.
    options = ["--external-sources", "--severity=warning", "--exclude=SC2164"]
    command = ["shellcheck", *options, *map(str, found)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_actionlint_passes(programs: Path) -> None:
    command = [
        str(programs / "actionlint"),
        "-no-color",
        *map(str, WORKFLOWS),
    ]  # it runs shellcheck on the steps' scripts
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_sha_with_a_version_comment(workflow: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.*)$", workflow.read_text(), re.MULTILINE)
    assert used
    for each in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_no_step_inlines_expressions_in_its_script(workflow: Path) -> None:
    """Expressions are passed to scripts only as environment variables, where quoting works."""
    for block in re.findall(r"^( *)(?:- )?run: (.*(?:\n\1 .*)*)", workflow.read_text(), re.MULTILINE):
        assert "${{" not in block[1].split("\n      - ")[0], block


def test_every_server_script_has_help() -> None:
    for path in [*sorted((ROOT / "k8s").glob("*.sh")), ROOT / "k8s/config.py", ROOT / "k8s/verify.py"]:
        if path.name != "common.sh":
            done = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 and done.stdout.count("\n") >= 3, (path, done.stdout, done.stderr)
