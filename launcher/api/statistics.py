"""The call that counts runs, a day at a time."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from launcher.api.dependencies import Reader, ServicesDep
from launcher.domain.days import last_days, zone_of
from launcher.domain.runs import RunStatus, now

MOST_DAYS = 366
router = APIRouter(tags=["runs"])


class CountsView(BaseModel):
    """How many runs have each status."""

    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int


class DayView(BaseModel):
    """The runs that were requested on one day, by their status now."""

    date: date
    counts: CountsView
    total: int


class StatsView(BaseModel):
    """Days, the oldest first; days without runs are there too."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tz": "Europe/Berlin",
                    "days": [
                        {
                            "date": "2026-11-24",
                            "counts": {"queued": 0, "running": 1, "completed": 120, "failed": 2, "cancelled": 1},
                            "total": 124,
                        }
                    ],
                    "total": 124,
                }
            ]
        }
    )

    tz: str
    days: list[DayView]
    total: int


@router.get("/jobs/stats", response_model=StatsView, summary="Count runs by day and status")
async def stats(
    services: ServicesDep,
    principal: Reader,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="So many days, today included.")] = 14,
    tz: Annotated[str, Query(description="Where the days begin and end: an IANA time zone.")] = "UTC",
) -> dict[str, Any]:
    """Count the runs of the last days by the day on which they were requested, all of them, however many there are."""
    zone = zone_of(tz)
    asked = last_days(days, zone, now())
    counted = asked.by_date(await services.engine.count_between(asked.edges))
    shown = [
        {
            "date": day,
            "counts": {str(status): counts.get(status, 0) for status in RunStatus},
            "total": sum(counts.values()),
        }
        for day, counts in counted
    ]
    return {"tz": zone.key, "days": shown, "total": sum(sum(counts.values()) for _, counts in counted)}
