"""The output: results on stdout, everything else on stderr, and no hostile text at a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

_SGR = re.compile(r"(\x1b\[[0-9;:]*m)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return text that a terminal may be shown: colours stay, other control characters become visible."""
    parts = _SGR.split(text)
    shown = "".join(part if index % 2 else _CONTROL.sub(_picture, part) for index, part in enumerate(parts))
    return f"{shown}\x1b[0m" if len(parts) > 1 else shown


def plain(value: object) -> str:
    """Return a value from the launcher for a table or a sentence: no control characters, no colours."""
    return _CONTROL.sub(_picture, "" if value is None else str(value))


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\\u{code:04x}"


def line(text: str) -> None:
    """Print one line of a log: harmless at a terminal, unchanged where it is piped."""
    shown = harmless(text) if sys.stdout.isatty() else text
    sys.stdout.buffer.write(shown.encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()


def document(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON. Escapes keep it harmless everywhere."""
    print(json.dumps(value, indent=indent), flush=True)


def say(text: str) -> None:
    """Print a sentence."""
    print(plain(text), flush=True)


def note(text: str) -> None:
    """Tell something beside the result."""
    print(plain(text), file=sys.stderr, flush=True)


def run_lines(run: Mapping[str, Any]) -> list[str]:
    """Return how a run stands, in words."""
    said = run["message"] or _waiting(run["queue"]) or f"since {run['started_at'] or run['created_at']}"
    lines = [f"{run['run_id']}  {run['status']}: {said}"]
    if run["completed_at"]:
        log = run["log"]
        lines.append(f"log {'complete' if log['complete'] else 'incomplete'}, {log['lines']:,} lines")
        lines += [f"artifact {url.split('/', 3)[-1]}" for url in run["artifacts"].values()]
    return lines


def _waiting(place: Mapping[str, Any] | None) -> str:
    if not place:
        return ""
    eta = f", about {place['eta_seconds']:.0f} s" if place.get("eta_seconds") is not None else ""
    return f"place {place['position']}{eta}; {place['why']}" if place.get("why") else f"place {place['position']}{eta}"
