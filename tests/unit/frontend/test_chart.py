from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from frontend.chart import HEIGHT, SLOT, bars_of, days_of, size_of

TODAY = date(2026, 11, 24)


def day(back: int, **counts: int) -> dict[str, Any]:
    return {"date": str(TODAY - timedelta(days=back)), "counts": counts, "total": sum(counts.values())}


def test_days_have_the_launchers_counts() -> None:
    days = days_of([day(2), day(1, failed=1, completed=0), day(0, running=1, queued=1, cancelled=3)])
    assert [each.date for each in days] == [TODAY - timedelta(days=2), TODAY - timedelta(days=1), TODAY]
    assert days[-1].counts == {"completed": 0, "failed": 0, "cancelled": 3, "live": 2}
    assert [each.total for each in days] == [0, 1, 5]


def test_bars_are_stacked_within_the_chart() -> None:
    days = days_of([*(day(back) for back in range(13, 0, -1)), day(0, completed=400, failed=1, cancelled=1, queued=1)])
    bars = bars_of(days)
    assert [bar.kind for bar in bars] == ["completed", "failed", "cancelled", "live"]
    assert bars[0].title == "24 Nov: 400 completed" and bars[3].title == "24 Nov: 1 active"
    bottom = float(HEIGHT)
    for bar in bars:
        assert bar.y + bar.height == pytest.approx(bottom, abs=0.02)
        assert bar.height >= HEIGHT / 50
        bottom = bar.y
    assert bottom >= 0
    width, height = size_of(days)
    assert (width, height) == (14 * SLOT, HEIGHT)
    assert width - SLOT < bars[0].x < bars[0].x + bars[0].width < width


def test_chart_without_runs_has_no_bars() -> None:
    assert bars_of(days_of([day(0)])) == bars_of([]) == []
