"""Prints results to stdout, everything else to stderr, and nothing harmful to a terminal."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, set_cell_size

_LONGEST_LINE = 1 << 20
_SGR = re.compile(r"(\x1b\[[0-9;:]*m)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """Return text that is safe for a terminal: colors are kept, other control characters become visible."""
    parts = _SGR.split(text)
    shown = "".join(part if index % 2 else _CONTROL.sub(_picture, part) for index, part in enumerate(parts))
    return f"{shown}\x1b[0m" if len(parts) > 1 else shown


def plain(value: object) -> str:
    """Return a value from the launcher without control characters or colors."""
    return _CONTROL.sub(_picture, "" if value is None else str(value))


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\u{code:04x}"


def line(text: str) -> None:
    """Print one line of a log: made harmless for a terminal, unchanged in a pipe."""
    shown = harmless(text) if sys.stdout.isatty() else text
    sys.stdout.buffer.write(shown.encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def last_frame(text: str) -> str:
    """Return what a terminal shows of a line with carriage returns."""
    return text.rstrip("\r").rpartition("\r")[2]


def document(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, whose escapes are harmless everywhere."""
    print(json.dumps(value, indent=indent), flush=True)


def text_document(head: Mapping[str, Any], pieces: Iterable[bytes]) -> None:
    """Print `head` as JSON with the pieces as its last member, `text`, without holding them in memory."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    print(json.dumps(head)[:-1] + ', "text": "', end="")
    for piece in pieces:
        print(json.dumps(decode(piece))[1:-1], end="")
    print(json.dumps(decode(b"", True))[1:-1] + '"}', flush=True)


def lines_of(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a text that arrives in pieces; a longer line than `_LONGEST_LINE` comes in parts."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + decode(piece)).split("\n")
        yield from lines
        while len(rest) > _LONGEST_LINE:
            yield rest[:_LONGEST_LINE]
            rest = rest[_LONGEST_LINE:]
    if rest := rest + decode(b"", True):
        yield rest


def after_line(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield a text that arrives in pieces, without its first `count` lines."""
    for piece in pieces:
        begin = 0
        while count and begin < len(piece):
            end = piece.find(b"\n", begin)
            begin, count = (end + 1, count - 1) if end >= 0 else (len(piece), count)
        if begin < len(piece):
            yield piece[begin:]


def say(text: str) -> None:
    """Print a sentence."""
    print(plain(text), flush=True)


def note(text: str) -> None:
    """Print a message beside the result."""
    print(plain(text), file=sys.stderr, flush=True)


def run_lines(run: Mapping[str, Any]) -> list[str]:
    """Return a run's status in words."""
    lines = [f"{run['run_id']}  {_status(run)}"]
    if run["completed_at"]:
        log = run["log"]
        count = "1 line" if log["lines"] == 1 else f"{log['lines']:,} lines"
        lines.append(f"log {'complete' if log['complete'] else 'incomplete'}, {count}")
        lines += [f"artifact {url.split('/', 3)[-1]}" for url in run["artifacts"].values()]
    return lines


def run_table(runs: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Return the heading of a list of runs, and a row for each."""
    rows = [("RUN", "JOB", "PIPELINE", "REQUESTED (UTC)", "STATUS")]
    for run in runs:
        requested = f"{_utc(run['created_at']):%Y-%m-%d %H:%M:%S}"
        rows.append((run["run_id"], plain(run["job_id"]), plain(run["pipeline"]), requested, _status(run)))
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    head, *rest = ("  ".join((*map(set_cell_size, row, widths), row[-1])) for row in rows)
    return head, rest


def _status(run: Mapping[str, Any]) -> str:
    if text := run["message"] or _waiting(run["queue"]):
        return f"{run['status']}: {text}"
    since = _utc(run["started_at"] or run["created_at"])
    form = "%H:%M:%S" if since.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M:%S"
    return f"{run['status']} since {since:{form}} UTC"


def _utc(time: str) -> datetime:
    return datetime.fromisoformat(time).astimezone(UTC)


def _waiting(place: Mapping[str, Any] | None) -> str:
    if not place:
        return ""
    eta = f", about {place['eta_seconds']:.0f} s" if place.get("eta_seconds") is not None else ""
    return f"place {place['position']}{eta}; {place['why']}" if place.get("why") else f"place {place['position']}{eta}"
