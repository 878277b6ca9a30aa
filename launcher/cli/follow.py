"""Follows a run's stream to its end: every line exactly once, across restarts of the launcher."""

from __future__ import annotations

import json
import signal
import sys
import time
from types import FrameType
from typing import Any, Literal, Protocol
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, SSEError, connect_sse
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from launcher.cli import output
from launcher.cli.client import STREAM_TIMEOUT, Client, Run, check
from launcher.cli.failures import Exit, Failure, exit_code_of

CANCEL_QUESTION = "Cancel the run? [y/N]"
RUN_CONTINUES = "The run continues."
_PATIENCE_SECONDS = 900.0
_LONGEST_PAUSE_SECONDS = 5.0

OnInterrupt = Literal["leave", "ask", "cancel"]
"""What Ctrl-C does: leave the run running, ask whether to cancel it, or cancel it (a second one leaves)."""


class _Interrupted(Exception):
    """The stream ended before the run did."""


class Display(Protocol):
    """Shows a run's events."""

    def show(self, name: str, number: int, data: str) -> None:
        """Show one event. `number` is the line's, or 0."""

    def pause(self) -> None:
        """Free the terminal for a question."""


class Follower:
    """One run's stream, the last line shown, and the failed connections since then."""

    def __init__(
        self,
        client: Client,
        run_id: str,
        display: Display,
        after: int = 0,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._client, self._run_id, self._display, self._patience = client, run_id, display, patience_seconds
        self._cursor, self._failures, self._heard = after, 0, time.monotonic()
        self._busy = self._asked = False

    @property
    def resume(self) -> str:
        """The command that follows the run from the next line."""
        return f"slipway logs -f {self._run_id} --after {self._cursor}"

    def to_the_end(self) -> Run:
        """Show the events until the run ends, and return it. Raises `KeyboardInterrupt`, never within a line."""
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            retrying = Retrying(
                retry=retry_if_exception_type((httpx.TransportError, SSEError, _Interrupted)),
                wait=self._wait,
                stop=lambda state: time.monotonic() - self._heard > self._patience,
                reraise=True,
            )
            return retrying(self._connection)
        except (httpx.TransportError, SSEError, _Interrupted):
            text = (
                f"The launcher has not answered for {self._patience:.0f} s. To continue from here, run: {self.resume}"
            )
            raise Failure(text, Exit.UNREACHABLE) from None
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._busy and not self._asked:
            self._asked = True  # the line in progress is finished and counted first
            return
        raise KeyboardInterrupt

    def _wait(self, state: RetryCallState) -> float:
        self._failures += 1
        pause: float = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**self._failures)
        if self._failures == 2:  # a single break goes unnoticed
            output.note("The launcher does not answer. Retrying.")
        return pause

    def _connection(self) -> Run:
        headers = {"Last-Event-ID": str(self._cursor)} if self._cursor else {}
        path = f"/jobs/{quote(self._run_id, safe='')}/logs"
        with connect_sse(self._client.http, "GET", path, headers=headers, timeout=STREAM_TIMEOUT) as stream:
            answer = stream.response
            if answer.status_code in (429, 502, 503, 504):
                raise _Interrupted
            if answer.is_error:
                answer.read()
                check(answer)
            for event in stream.iter_sse():
                if self._failures > 1:
                    output.note("The launcher answers again.")
                self._failures, self._heard = 0, time.monotonic()
                if (run := self._take(event)) is not None:
                    return run
        raise _Interrupted

    def _take(self, event: ServerSentEvent) -> Run | None:
        if event.event == "end":
            run: Run = json.loads(event.data)
            self._display.show("end", 0, event.data)
            return run
        numbered = event.event in ("message", "progress", "gap")
        number = int(event.id) if numbered and event.id.isdigit() else 0
        if number and number <= self._cursor:
            return None
        self._busy = True
        try:
            self._display.show(event.event, number, event.data)
            self._cursor = number or self._cursor
        finally:
            self._busy = False
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt
        return None


def follow(
    client: Client,
    run_id: str,
    display: Display,
    *,
    after: int = 0,
    on_interrupt: OnInterrupt,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> int:
    """Follow a run to its end and return the exit code. Raises `Failure` if the launcher is silent for too long."""
    follower = Follower(client, run_id, display, after, patience_seconds)
    while True:
        try:
            return exit_code_of(follower.to_the_end())
        except KeyboardInterrupt:
            display.pause()
        if on_interrupt == "leave":
            return Exit.CANCELLED
        if not (on_interrupt == "cancel" or _confirmed()) or not _cancel(client, run_id):
            output.note(f"{RUN_CONTINUES} To follow it again, run: {follower.resume}")
            return Exit.LATER
        if on_interrupt == "cancel":
            on_interrupt = "leave"


def _confirmed() -> bool:
    """Ask whether to cancel. Without a terminal nobody is asked, and the run continues."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        sys.stderr.write(f"\n{CANCEL_QUESTION} ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return False


def _cancel(client: Client, run_id: str) -> bool:
    try:
        client.call("DELETE", f"/jobs/{quote(run_id, safe='')}")
    except KeyboardInterrupt:
        return False
    output.note("Cancelling the run. Waiting until all its processes have stopped.")
    return True


class JsonDisplay:
    """Prints one JSON object per event."""

    def show(self, name: str, number: int, data: str) -> None:
        """See `Display`."""
        if name == "partial":  # the finished line follows
            return
        if name == "message":
            output.document({"event": "line", "number": number, "text": data}, indent=None)
        else:
            document: Any = json.loads(data)
            output.document({"event": name, "number": number or None, "data": document}, indent=None)

    def pause(self) -> None:
        """See `Display`."""
