"""The newest run that each row of the jobs page shows, as the page sends it back: `status run_id job_id`."""

from __future__ import annotations

from collections.abc import Iterable

from frontend.last_run import UNKNOWN, LastRun

MAX_ROWS = 100


def read_shown(texts: Iterable[str]) -> dict[str, LastRun]:
    """Return the run that is shown for each job; malformed texts are ignored."""
    split = [text.split(" ", 2) for text in list(texts)[:MAX_ROWS]]
    return {
        parts[2]: LastRun(parts[1], parts[0] if parts[1] or parts[0] == UNKNOWN else "")
        for parts in split
        if len(parts) == 3
    }
