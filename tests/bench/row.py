"""A row of the table: a figure, its detail and its goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `goal` is the most that `value` may be, or the least if `at_least`; None: for information only."""

    name: str
    value: float
    unit: str
    detail: str = ""
    goal: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Return "met" or "missed", or nothing without a goal."""
        if self.goal is None:
            return ""
        met = self.value >= self.goal if self.at_least else self.value <= self.goal
        return "met" if met else "missed"


def spread(figures: Sequence[float], unit: str = "s") -> str:
    """Return the median and the range as text."""
    digits = 2 if max(figures) < 1000 else 0
    low, middle, high = (f"{each:,.{digits}f}" for each in (min(figures), median(figures), max(figures)))
    return f"{middle} {unit} ({low}-{high}, n={len(figures)})"
