"""The chart of the last days: how many runs ended how, as bars in an SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from frontend.words import LIVE, moment

KINDS = ("completed", "failed", "cancelled", "live")
DAYS = 14
HEIGHT, SLOT, BAR = 100, 20, 12  # units of the SVG; a day has a slot, its bar stands in the middle
_WORDS = {"live": "not ended"}


@dataclass(frozen=True)
class Day:
    """One day in UTC: how many of the runs that were asked for on it stand how; `live`: not ended yet."""

    date: date
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many runs in all."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Bar:
    """One day's runs of one kind, as a rectangle."""

    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float


def days_of(runs: Iterable[Mapping[str, Any]], today: date, days: int = DAYS) -> list[Day]:
    """Count the runs of the last days, oldest day first; days without runs are there too."""
    counts: dict[date, Counter[str]] = {today - timedelta(days=back): Counter() for back in reversed(range(days))}
    for run in runs:
        created = moment(run.get("created_at"))
        if created and created.date() in counts:
            status = str(run.get("status"))
            counts[created.date()]["live" if status in LIVE else status] += 1
    return [Day(day, {kind: of_day[kind] for kind in KINDS}) for day, of_day in counts.items()]


def size_of(days: list[Day]) -> tuple[int, int]:
    """Return the SVG's width and height in its own units."""
    return SLOT * len(days), HEIGHT


def bars_of(days: list[Day]) -> list[Bar]:
    """Stack each day's bars; the highest day fills the height, and nothing that is there is too low to be seen."""
    most = max((day.total for day in days), default=0) or 1
    lowest = HEIGHT / 50
    bars = []
    for index, day in enumerate(days):
        y = float(HEIGHT)
        for kind in KINDS:
            if count := day.counts[kind]:
                height = max(lowest, count / most * (HEIGHT - lowest * len(KINDS)))
                y -= height
                title = f"{day.date:%-d %b}: {count} {_WORDS.get(kind, kind)}"
                bars.append(Bar(kind, title, index * SLOT + (SLOT - BAR) / 2, round(y, 2), BAR, round(height, 2)))
    return bars
