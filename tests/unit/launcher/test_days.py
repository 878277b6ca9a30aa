from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from launcher.domain.days import Days, count_between, last_days, zone_of
from launcher.domain.errors import InvalidRequest
from launcher.domain.runs import Run, RunStatus


def hours_of(days: Days) -> list[float]:
    return [(end - start) / timedelta(hours=1) for start, end in pairwise(days.midnights)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", date(2026, 3, 29), 24),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # its midnight was skipped
        ("America/Havana", date(2026, 11, 1), 25),
    ],
)
def test_a_day_with_a_clock_change_is_one_day(zone: str, day: date, hours: float) -> None:
    now = datetime(day.year, day.month, day.day, 22, tzinfo=zone_of(zone))
    days = last_days(3, zone_of(zone), now)
    assert list(days.dates) == [day - timedelta(days=2), day - timedelta(days=1), day]
    assert hours_of(days) == [24, 24, hours]
    runs = [
        Run(run_id=f"a-{n}", job_id="a", created_at=days.midnights[0] + timedelta(minutes=10 * n), updated_at=now)
        for n in range(6 * 24 * 3 + 12)
    ]
    counted = days.by_date(count_between(days.edges, runs))
    assert [(found, counts[RunStatus.QUEUED]) for found, counts in counted] == [
        (days.dates[0], 144), (days.dates[1], 144), (day, min(6 * hours, 6 * 24 + 12)),
    ]  # fmt: skip


def test_a_day_skipped_by_a_zone_has_no_runs_and_shifts_no_other_day() -> None:
    now = datetime(2011, 12, 31, 12, tzinfo=zone_of("Pacific/Apia"))
    days = last_days(3, zone_of("Pacific/Apia"), now)
    assert hours_of(days) == [24, 0, 24] and len(days.edges) == 3
    runs = [
        Run(run_id=f"a-{n}", job_id="a", created_at=now.astimezone(UTC) - timedelta(days=n), updated_at=now)
        for n in range(2)
    ]
    counted = days.by_date(count_between(days.edges, runs))
    assert [sum(counts.values()) for _, counts in counted] == [1, 0, 1]


def test_today_depends_on_the_zone() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert last_days(1, zone_of("Pacific/Kiritimati"), now).dates == [date(2026, 11, 25)]
    assert last_days(1, zone_of("Pacific/Pago_Pago"), now).dates == [date(2026, 11, 24)]
    assert len(last_days(366, zone_of("Europe/Berlin"), now).edges) == 367


@pytest.mark.parametrize(
    "name", ["", "Europe", "Mars/Base", "../UTC", "/etc/localtime", "UTC\0", "Europe//Berlin", "x" * 1000, "ü", "a b"]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="IANA"):
        zone_of(name)
