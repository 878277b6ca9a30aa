"""A batch: the runs that one click of *Process selected* launched, as the page's URL lists them, and their progress."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frontend.messages import LIVE, runs_finished

MAX_RUNS = 50
"""Keeps the URL well below the 8190 characters that a server accepts; a page selects at most half as many."""
NOT_FOUND = "not found"
_SEPARATOR = "."  # in no run id, and needs no escaping in a URL
_RUN_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # as in launcher/domain/names.py


@dataclass(frozen=True)
class Batch:
    """Runs and their states; None: not loaded yet. A run that the launcher no longer knows counts as finished."""

    run_ids: Sequence[str]
    states: Mapping[str, str] | None = None

    @property
    def url_value(self) -> str:
        """The batch as the value of the URL's `batch` parameter."""
        return _SEPARATOR.join(self.run_ids)

    @property
    def counts(self) -> Counter[str]:
        """The number of runs in each state."""
        return Counter((self.states or {}).values())

    @property
    def finished(self) -> int:
        """The number of runs that have finished."""
        return sum(count for state, count in self.counts.items() if state not in LIVE)

    @property
    def done(self) -> bool:
        """Whether all runs have finished."""
        return self.states is not None and self.finished == len(self.run_ids)

    @property
    def summary(self) -> str:
        """The label of the progress bar."""
        return runs_finished(self.finished, len(self.run_ids))


def parse_batch(text: str) -> list[str]:
    """Return the run ids in the URL's `batch` parameter, without duplicates and invalid ids."""
    run_ids = (part for part in text.split(_SEPARATOR) if _RUN_ID.fullmatch(part))
    return list(dict.fromkeys(run_ids))[:MAX_RUNS]
