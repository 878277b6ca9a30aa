"""A finding: one broken promise, the run it concerns, and the details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

_SHOWN = 50


@dataclass(frozen=True)
class Finding:
    """One broken promise. `kind` is a member of the checker's enumeration; `detail` is for people."""

    kind: StrEnum
    run_id: str
    detail: str


def report(findings: Sequence[Finding]) -> str:
    """Format findings for an assertion message, one per line; only the first fifty."""
    if not findings:
        return "nothing found"
    lines = [f"{finding.kind}: {finding.run_id}: {finding.detail}" for finding in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"… and {len(findings) - _SHOWN} more")
    return "\n".join([f"{len(findings)} found", *lines])


def spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Group consecutive numbers into (first, last) pairs, so that a thousand lost lines are one finding."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number <= found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
