"""The result of a check by the doctor."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One check: what was found and, if there is a problem, what to do."""

    check: str
    state: Literal["ok", "warn", "fail", "skip"]
    found: str
    do: str = ""

    def lines(self) -> list[str]:
        """Return it for people: what was found, then what to do."""
        return [f"{self.state:4}  {self.check}: {self.found}", *([f"      {self.do}"] if self.do else [])]
