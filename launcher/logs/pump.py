"""The log pump: writes the output of a child process to its run's log, line by line."""

from __future__ import annotations

from launcher.domain.log_lines import LineKind, LineSplitter, Receipt, TimestampedPiece, as_display
from launcher.logs.sink import LogSink, timestamp


class LogPump:
    """Writes the output of one run to its log."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink
        self._splitter = LineSplitter()

    async def feed(self, chunk: bytes) -> None:
        """Write the lines that this output completes."""
        await self._write(self._splitter.feed(chunk))

    @property
    def partial_line(self) -> str | None:
        """The current text of an incomplete line that redraws itself; None if there is none."""
        rest = self._splitter.rest
        return as_display(rest) if b"\r" in rest else None

    async def close(self, note: str | None = None) -> Receipt:
        """Write the last line, even without a newline, then close the log with a note; return its receipt."""
        await self._write(self._splitter.flush())
        return await self._sink.close(note=note)

    async def _write(self, pieces: list[tuple[LineKind, bytes]]) -> None:
        if pieces:
            at = timestamp()
            await self._sink.write([TimestampedPiece(at, kind, data) for kind, data in pieces])
