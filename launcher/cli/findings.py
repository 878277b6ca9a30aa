"""What the doctor finds."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One check: what was found and, where it is not well, what to do."""

    check: str
    state: Literal["ok", "warn", "fail", "skip"]
    found: str
    do: str = ""
