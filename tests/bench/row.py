"""A row of the table: what was measured, against what, and what it is to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `goal` is the bound of `value`; `at_least` where more is better; None: told for information."""

    name: str
    value: float
    unit: str
    detail: str = ""
    goal: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Say whether the goal is met."""
        if self.goal is None:
            return ""
        met = self.value >= self.goal if self.at_least else self.value <= self.goal
        return "met" if met else "missed"


def spread(figures: Sequence[float], unit: str = "s") -> str:
    """Return median, smallest and largest in words."""
    digits = 2 if max(figures) < 1000 else 0
    low, middle, high = (f"{each:,.{digits}f}" for each in (min(figures), median(figures), max(figures)))
    return f"{middle} {unit} ({low}-{high}, n={len(figures)})"
