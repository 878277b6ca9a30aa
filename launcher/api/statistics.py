"""The route that counts runs by day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from launcher.api.dependencies import Reader, ServicesDep
from launcher.domain.days import last_days, zone_of
from launcher.domain.runs import RunStatus, now

MAX_DAYS = 366
router = APIRouter(tags=["runs"])


class CountsView(BaseModel):
    """The number of runs with each status."""

    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int


class DayView(BaseModel):
    """The runs that were requested on one day, by their current status."""

    date: date
    counts: CountsView
    total: int


class StatsView(BaseModel):
    """Counts by day, oldest first, including days without runs."""

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
    days: Annotated[int, Query(ge=1, le=MAX_DAYS, description="Number of days, including today.")] = 14,
    tz: Annotated[str, Query(description="IANA time zone in which days start and end.")] = "UTC",
) -> dict[str, Any]:
    """Count all runs of the last days by the day on which they were requested, and by status."""
    zone = zone_of(tz)
    period = last_days(days, zone, now())
    counted = period.by_date(await services.engine.count_between(period.edges))
    views = [
        {
            "date": day,
            "counts": {str(status): counts.get(status, 0) for status in RunStatus},
            "total": sum(counts.values()),
        }
        for day, counts in counted
    ]
    return {"tz": zone.key, "days": views, "total": sum(sum(counts.values()) for _, counts in counted)}
