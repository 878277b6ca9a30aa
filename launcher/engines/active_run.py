"""A run of the local engine that has a slot."""

from __future__ import annotations

import asyncio

from launcher.domain.reasons import Reason
from launcher.logs.pump import LogPump


class ActiveRun:
    """A run that has a slot. `stop` is set to the reason why it must stop, and cancelled once it has stopped."""

    def __init__(self) -> None:
        self.stop: asyncio.Future[Reason] = asyncio.get_running_loop().create_future()
        self.pump: LogPump | None = None

    @property
    def partial_line(self) -> str | None:
        """The current text of an incomplete last line that redraws itself; None if there is none."""
        return self.pump.partial_line if self.pump else None

    def stop_for(self, reason: Reason) -> None:
        """Stop the run, unless a reason is set already."""
        if not self.stop.done():
            self.stop.set_result(reason)
