"""Lines from a source with timestamps: how its bytes are split into lines, and how reading resumes.

Kubernetes serves a container's log as `TIME SPACE BYTES NEWLINE`. With `sinceTime` it returns every line whose
timestamp is not before that second, in the order of the file (kubelet, `pkg/kubelet/kuberuntime/logs/logs.go`).
Timestamps can repeat. They can also go back, between standard output and standard error or when a clock is set. So a
reader resumes a few seconds before its newest line, and skips the lines that are stored already: the response starts
with them. If it does not, the node has deleted lines that were never read (log rotation), and there is a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from launcher.domain.log_lines import MAX_LINE_BYTES, LineKind, TimestampedPiece, cut

_SECOND = len("2026-11-24T08:00:00")
_EPOCH = "1970-01-01T00:00:00Z"
_STAMP_MAX = 64
_MARGIN = timedelta(seconds=5)  # how far a timestamp can be before that of the previous line


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where to resume reading a source, from what is stored of it.

    `since` is the time to read from; None if nothing is stored. `stamps` are the timestamps of the complete lines
    stored since then, in order. If the last line is incomplete, `part` is the number of its bytes that are stored, and
    `part_stamp` its timestamp.
    """

    since: str | None = None
    stamps: Sequence[str] = ()
    part: int = 0
    part_stamp: str | None = None


def since_of(stamp: str) -> str:
    """Return the time to read from, given the newest timestamp: a whole second in the same time zone.

    If the archive's timestamp is damaged, reading starts at the first line.
    """
    try:
        moment = datetime.fromisoformat(stamp[:_SECOND]) - _MARGIN
    except ValueError:
        return _EPOCH
    return moment.isoformat() + stamp[_SECOND:].lstrip(".0123456789")


def resume_point_of(newest: str | None, pieces: Iterable[TimestampedPiece]) -> ResumePoint:
    """Return where to resume, given the timestamp of the source's newest line and all lines of the log.

    The lines that Slipway added are ignored.
    """
    if newest is None:
        return ResumePoint()
    since = since_of(newest)
    second = since[:_SECOND]
    stamps: list[str] = []
    part, part_stamp = 0, None
    for stamp, kind, data in pieces:
        if kind is LineKind.LINE:
            if stamp[:_SECOND] >= second:
                stamps.append(stamp)
            part, part_stamp = 0, None
        elif kind is LineKind.PART:
            part, part_stamp = part + len(data), stamp
    return ResumePoint(since=since, stamps=stamps, part=part, part_stamp=part_stamp)


class NotTimestamped(Exception):
    """The source sent something other than a line: Kubernetes reports its own errors within a response."""


class TimestampedSplitter:
    """Splits the source's bytes into timestamped lines and parts. Buffers little more than `limit` bytes.

    Raises `NotTimestamped` for anything else. Then the lines before it in the same chunk must be read again.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = b""
        self._stamp: str | None = None  # of the incomplete line, once a part of it was returned

    def feed(self, chunk: bytes) -> list[TimestampedPiece]:
        """Add bytes and return the lines and parts that they complete."""
        whole = (self._rest + chunk).split(b"\n")
        self._rest = whole.pop()
        pieces: list[TimestampedPiece] = []
        for line in whole:
            stamp, data = self._parse(line)
            self._stamp = None
            if len(data) > self._limit:
                data = self._cut(stamp, data, pieces)
            pieces.append(TimestampedPiece(stamp, LineKind.LINE, data))
        if len(self._rest) > self._limit + _STAMP_MAX:
            self._stamp, data = self._parse(self._rest)
            self._rest = self._cut(self._stamp, data, pieces)
        return pieces

    def flush(self) -> list[TimestampedPiece]:
        """Return the last line if it has no newline."""
        if not self._rest and self._stamp is None:
            return []
        stamp, data = self._parse(self._rest)
        self._rest, self._stamp = b"", None
        return [TimestampedPiece(stamp, LineKind.LINE, data)]

    def _parse(self, line: bytes) -> tuple[str, bytes]:
        if self._stamp is not None:
            return self._stamp, line
        stamp, _, data = line.partition(b" ")
        if stamp[10:11] != b"T":
            raise NotTimestamped(line[:200].decode("utf-8", "replace"))
        return stamp.decode("ascii", "replace"), data

    def _cut(self, stamp: str, data: bytes, pieces: list[TimestampedPiece]) -> bytes:
        parts, rest = cut(data, self._limit)
        pieces += [TimestampedPiece(stamp, LineKind.PART, part) for part in parts]
        return rest


class ResumeFilter:
    """Skips the lines at the start of a response that are stored already.

    `missing_lines` is set if the response does not continue where the stored lines end.
    """

    def __init__(self, stored: ResumePoint) -> None:
        self._stored = stored
        self._next: int | None = None  # index into the stored stamps; None before the first line
        self._part = stored.part
        self._done = stored.since is None
        self.missing_lines = False

    def new_pieces(self, pieces: Sequence[TimestampedPiece]) -> Sequence[TimestampedPiece]:
        """Return the pieces that are new."""
        for index, piece in enumerate(pieces):
            if self._done:
                return pieces[index:]
            if (new := self._unless_stored(piece)) is not None:
                self._done = True
                return [new, *pieces[index + 1 :]]
        return ()

    def _unless_stored(self, piece: TimestampedPiece) -> TimestampedPiece | None:
        """Return the piece, or the new part of it; None if it is stored already."""
        stamps = self._stored.stamps
        if self._next is None:
            self._next = next((at for at, stamp in enumerate(stamps) if stamp == piece.timestamp), None)
            if self._next is None:
                if self._stored.part and piece.timestamp == self._stored.part_stamp:
                    self._next = len(stamps)
                else:
                    self.missing_lines = True
                    return piece
        if self._next < len(stamps):
            if piece.timestamp != stamps[self._next]:
                self.missing_lines = True
                return piece
            self._next += piece.kind is LineKind.LINE
            return None
        if not self._part:
            return piece
        if piece.timestamp != self._stored.part_stamp:
            self.missing_lines = True
            return piece
        if piece.kind is LineKind.PART and len(piece.data) <= self._part:
            self._part -= len(piece.data)
            return None
        at, self._part = self._part, 0
        return piece._replace(data=piece.data[at:])
