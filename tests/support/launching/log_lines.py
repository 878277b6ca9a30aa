"""Lines for logs that tests write themselves."""

from __future__ import annotations

from launcher.domain.log_lines import LineKind, TimestampedPiece
from launcher.stores.archive import Archive

STAMP = "2026-11-24T08:00:00.000000001Z"


def pieces(first: int, last: int) -> list[TimestampedPiece]:
    """Return lines with these numbers and odd bytes."""
    return [TimestampedPiece(STAMP, LineKind.LINE, b"line %d \x00\xff \r" % n) for n in range(first, last + 1)]


def write_log(archive: Archive, count: int) -> None:
    """Write the log of the run `a`."""
    writer = archive.writer("a")
    writer.append(pieces(1, count))
    writer.close()
