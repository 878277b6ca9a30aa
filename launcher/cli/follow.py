"""Following: a run's stream to its end, every line exactly once, over restarts of the launcher."""

from __future__ import annotations

import json
import signal
import sys
import time
from types import FrameType
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, SSEError, connect_sse
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from launcher.cli import output
from launcher.cli.client import STREAM_TIMEOUT, Client, Run, check
from launcher.cli.failures import Exit, Failure, exit_code_of

_GIVE_UP_SECONDS = 900.0
_LONGEST_PAUSE_SECONDS = 5.0


class _Interrupted(Exception):
    """The stream ended before the run did."""


class Display(Protocol):
    """What shows a run's events."""

    def show(self, name: str, number: int, data: str) -> None:
        """Show one event; `number` is a line's, 0 where it has none."""

    def pause(self) -> None:
        """Leave the terminal free for a question."""


class Follower:
    """One run's stream: where it is, and how often in a row it could not be had."""

    def __init__(self, client: Client, run_id: str, display: Display, after: int = 0) -> None:
        self._client, self._run_id, self._display = client, run_id, display
        self._cursor, self._failures, self._heard = after, 0, time.monotonic()
        self._busy = self._asked = False

    @property
    def cursor(self) -> int:
        """The number of the last line shown."""
        return self._cursor

    def to_the_end(self) -> Run:
        """Show the events until the run has ended; return the run. Raises `KeyboardInterrupt` between two lines."""
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            retrying = Retrying(
                retry=retry_if_exception_type((httpx.TransportError, SSEError, _Interrupted)),
                wait=self._wait,
                stop=lambda state: time.monotonic() - self._heard > _GIVE_UP_SECONDS,
                reraise=True,
            )
            return retrying(self._connection)
        except (httpx.TransportError, SSEError, _Interrupted):
            text = f"The launcher stayed away; slipway logs -f {self._run_id} --after {self._cursor} goes on from here."
            raise Failure(text, Exit.UNREACHABLE) from None
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._busy and not self._asked:
            self._asked = True  # a line that was begun is finished and counted first
            return
        raise KeyboardInterrupt

    def _wait(self, state: RetryCallState) -> float:
        self._failures += 1
        pause: float = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**self._failures)
        if self._failures == 2:  # one break alone heals unnoticed
            output.note("The launcher does not answer; trying again until it does.")
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
                    output.note("The launcher is back.")
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


def follow(client: Client, run_id: str, display: Display, *, after: int = 0, owner: bool) -> int:
    """Follow a run to its end and return the exit code; `owner`: Ctrl-C asks whether to cancel."""
    follower = Follower(client, run_id, display, after)
    while True:
        try:
            return exit_code_of(follower.to_the_end())
        except KeyboardInterrupt:
            display.pause()
            if not owner:
                return Exit.CANCELLED
            if not _cancelled(client, run_id):
                output.note(f"The run goes on; slipway logs -f {run_id} --after {follower.cursor} follows it again.")
                return Exit.LATER


def _cancelled(client: Client, run_id: str) -> bool:
    """Ask whether to cancel, and do so; without a terminal nobody is asked and the run goes on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        sys.stderr.write("\nCancel the run? y: cancel it, n: leave it running [n] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return False
        client.call("DELETE", f"/jobs/{quote(run_id, safe='')}")
        output.note("Cancelling; waiting until nothing of the run is left.")
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return False
    return True


class JsonDisplay:
    """One JSON object a line and event."""

    def show(self, name: str, number: int, data: str) -> None:
        """See `Display`."""
        if name == "partial":  # the line follows when it is finished
            return
        if name == "message":
            output.document({"event": "line", "number": number, "text": data}, indent=None)
        else:
            document: Any = json.loads(data)
            output.document({"event": name, "number": number or None, "data": document}, indent=None)

    def pause(self) -> None:
        """See `Display`."""
