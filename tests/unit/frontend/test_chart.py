from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from frontend.chart import DAYS, HEIGHT, SLOT, bars_of, days_of, size_of

TODAY = date(2026, 11, 24)


def run(day: str, status: str) -> dict[str, Any]:
    return {"created_at": f"{day}T08:00:00.000001Z", "status": status}


def test_every_day_is_there_and_counts_what_was_asked_for_on_it() -> None:
    runs = [run("2026-11-24", "running"), run("2026-11-24", "queued"), run("2026-11-23", "failed")]
    days = days_of(runs, TODAY)
    assert [days[0].date, days[-1].date, len(days)] == [date(2026, 11, 11), TODAY, DAYS]
    assert days[-1].counts == {"completed": 0, "failed": 0, "cancelled": 0, "live": 2}
    assert [day.total for day in days[-3:]] == [0, 1, 2]


@pytest.mark.parametrize("odd", [run("2020-01-01", "completed"), run("soon", "failed"), {}])
def test_runs_of_other_days_and_without_a_day_are_left_out(odd: dict[str, Any]) -> None:
    assert sum(day.total for day in days_of([odd], TODAY)) == 0


def test_bars_stand_on_one_another_and_stay_within_the_picture() -> None:
    runs = [run("2026-11-24", "completed")] * 400 + [
        run("2026-11-24", kind) for kind in ("failed", "cancelled", "queued")
    ]
    bars = bars_of(days_of(runs, TODAY))
    assert [bar.kind for bar in bars] == ["completed", "failed", "cancelled", "live"]
    assert bars[0].title == "24 Nov: 400 completed" and bars[3].title == "24 Nov: 1 not ended"
    bottom = float(HEIGHT)
    for bar in bars:
        assert bar.y + bar.height == pytest.approx(bottom, abs=0.02)
        assert bar.height >= HEIGHT / 50
        bottom = bar.y
    assert bottom >= 0
    width, height = size_of(days_of(runs, TODAY))
    assert (width, height) == (DAYS * SLOT, HEIGHT)
    assert width - SLOT < bars[0].x < bars[0].x + bars[0].width < width


def test_a_picture_of_nothing_is_empty() -> None:
    assert bars_of(days_of([], TODAY)) == bars_of([]) == []
