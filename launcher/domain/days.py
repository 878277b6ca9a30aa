"""Calendar days in a time zone, as the times between which runs are counted."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from launcher.domain.errors import InvalidRequest
from launcher.domain.runs import Run, RunStatus

StatusCounts = Mapping[RunStatus, int]
"""The number of runs with each status. A status without runs may be missing."""
NOT_A_TIME_ZONE = "tz: not a time zone. Use an IANA name, for example Europe/Berlin or UTC."
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


@dataclass(frozen=True)
class Days:
    """Consecutive days. `midnights` are the start of each day and the end of the last one, in UTC."""

    dates: Sequence[date]
    midnights: Sequence[datetime]

    @property
    def edges(self) -> list[datetime]:
        """The midnights without duplicates: a zone that moves across the date line skips a day."""
        return list(dict.fromkeys(self.midnights))

    def by_date(self, counts: Iterable[StatusCounts]) -> list[tuple[date, StatusCounts]]:
        """Return each day with its counts. `counts` has one entry between each two successive edges."""
        by_start = dict(zip(self.edges, counts, strict=False))
        spans = pairwise(self.midnights)
        return [
            (day, by_start[start] if start < end else {}) for day, (start, end) in zip(self.dates, spans, strict=True)
        ]


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone with this IANA name. Raises `InvalidRequest`."""
    try:
        if len(name) <= 64 and _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        pass
    raise InvalidRequest(NOT_A_TIME_ZONE)


def last_days(count: int, zone: ZoneInfo, now: datetime) -> Days:
    """Return the last `count` days, including today. When clocks change, a day has 23 or 25 hours."""
    today = now.astimezone(zone).date()
    dates = [today - timedelta(days=back) for back in reversed(range(-1, count))]
    midnights = [datetime.combine(day, time(), zone).astimezone(UTC) for day in dates]
    return Days(dates[:-1], midnights)


def count_between(edges: Sequence[datetime], runs: Iterable[Run]) -> list[StatusCounts]:
    """Count the runs that were requested between each two successive edges, by status."""
    counts: list[Counter[RunStatus]] = [Counter() for _ in edges[1:]]
    for run in runs:
        if edges[0] <= run.created_at < edges[-1]:
            counts[bisect_right(edges, run.created_at) - 1][run.status] += 1
    return list(counts)
