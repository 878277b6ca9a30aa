"""The chart of the last days: each day's runs by status, as stacked bars in an SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from frontend.messages import LIVE

KINDS = ("completed", "failed", "cancelled", "live")
DAYS = 14
HEIGHT, SLOT, BAR = 100, 20, 12  # SVG units; each bar is centred in its day's slot
_LABELS = {"live": "active"}


@dataclass(frozen=True)
class Day:
    """The runs that were requested on one day, counted by status; `live`: queued or running."""

    date: date
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """The number of runs."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Bar:
    """The rectangle of one day's runs of one kind."""

    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float


def days_of(counted: Iterable[Mapping[str, Any]]) -> list[Day]:
    """Parse the launcher's days, each with a `date` and `counts` by status."""
    return [
        Day(
            date.fromisoformat(day["date"]),
            {kind: day["counts"].get(kind, 0) for kind in KINDS}
            | {"live": sum(day["counts"].get(status, 0) for status in LIVE)},
        )
        for day in counted
    ]


def size_of(days: list[Day]) -> tuple[int, int]:
    """Return the SVG's width and height in SVG units."""
    return SLOT * len(days), HEIGHT


def bars_of(days: list[Day]) -> list[Bar]:
    """Stack each day's bars; the busiest day fills the height, and every bar is tall enough to be visible."""
    most = max((day.total for day in days), default=0) or 1
    lowest = HEIGHT / 50
    bars = []
    for index, day in enumerate(days):
        y = float(HEIGHT)
        for kind in KINDS:
            if count := day.counts[kind]:
                height = max(lowest, count / most * (HEIGHT - lowest * len(KINDS)))
                y -= height
                title = f"{day.date:%-d %b}: {count} {_LABELS.get(kind, kind)}"
                bars.append(Bar(kind, title, index * SLOT + (SLOT - BAR) / 2, round(y, 2), BAR, round(height, 2)))
    return bars
