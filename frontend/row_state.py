"""What a page of postings shows of each job's newest run, as the page itself sends it back: `status run_id job_id`."""

from __future__ import annotations

from collections.abc import Iterable

from frontend.last_run import UNKNOWN, LastRun

MOST = 100


def read_shown(texts: Iterable[str]) -> dict[str, LastRun]:
    """Return what is shown for each job; a text that no page sends counts for nothing."""
    split = [text.split(" ", 2) for text in list(texts)[:MOST]]
    return {
        parts[2]: LastRun(parts[1], parts[0] if parts[1] or parts[0] == UNKNOWN else "")
        for parts in split
        if len(parts) == 3
    }
