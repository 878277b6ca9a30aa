"""The runs of one press of *Process selected*: named in the page's address, and how far they have come."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frontend.messages import LIVE

MOST = 50
"""Runs in one address, which stays well below the 8190 characters that a server takes; a page selects half as many."""
GONE = "no longer kept"
_BETWEEN = "."  # in no run id, and a sign that an address need not escape
_RUN_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # as in launcher/domain/names.py


@dataclass(frozen=True)
class Batch:
    """Runs and their states; None: not looked up yet. A run that the launcher no longer keeps has ended too."""

    run_ids: Sequence[str]
    states: Mapping[str, str] | None = None

    @property
    def address(self) -> str:
        """The batch as an address names it."""
        return _BETWEEN.join(self.run_ids)

    @property
    def counts(self) -> Counter[str]:
        """How many runs stand how."""
        return Counter((self.states or {}).values())

    @property
    def ended(self) -> int:
        """How many runs have ended."""
        return sum(count for state, count in self.counts.items() if state not in LIVE)

    @property
    def over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.states is not None and self.ended == len(self.run_ids)


def read_address(text: str) -> list[str]:
    """Return the runs that an address names, each once; what can be no run's name is left out."""
    names = (name for name in text.split(_BETWEEN) if _RUN_ID.fullmatch(name))
    return list(dict.fromkeys(names))[:MOST]
