"""Findings as an assertion message shows them."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers import findings
from checkers.findings import Finding, report, spans
from checkers.log_history import LogFault

FOLDER = Path(findings.__file__).parent


def test_a_report_has_one_line_per_finding() -> None:
    assert report([]) == "nothing found"
    assert report([Finding(LogFault.LOST, "4711-a", "3 to 7")]) == "1 found\nline lost: 4711-a: 3 to 7"
    long = report([Finding(LogFault.LOST, "4711-a", str(number)) for number in range(60)])
    assert long.splitlines()[-1] == "… and 10 more"


@given(st.sets(st.integers(0, 50)))
def test_spans_cover_exactly_the_numbers(numbers: set[int]) -> None:
    found = spans(numbers)
    assert {number for first, last in found for number in range(first, last + 1)} == numbers
    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(found))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_checkers_do_not_import_the_launcher(path: Path) -> None:
    imported = [
        name
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    assert not [name for name in imported if name.split(".")[0] == "launcher"]
