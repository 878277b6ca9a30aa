"""The launcher's JSON answers, checked where they come in: a proxy or another server may have sent them.

Templates and scripts rely on the fields that are listed here. Unknown fields are allowed: a newer launcher adds some.
"""

from __future__ import annotations

import json
import re
from typing import Any

Shape = Any
"""A type, a list with the shape of its items, a dict with the shape of each field, a tuple of alternatives,
or the pattern of a text."""

_TEXT = (str, None)
_NAME = re.compile(r"[^\s/]+")  # a part of a URL
RUN: Shape = {
    "run_id": _NAME,
    "job_id": str,
    "status": str,
    "pipeline": str,
    "profile_ref": _TEXT,
    "reason": _TEXT,
    "message": _TEXT,
    "exit_code": (int, None),
    "queue": ({"position": int, "eta_seconds": (int, float, None), "why": _TEXT}, None),
    "created_at": str,
    "started_at": _TEXT,
    "completed_at": _TEXT,
    "artifacts": {...: re.compile(r".*[^/]", re.DOTALL)},
    "log": {"lines": int, "complete": bool, "gaps": [{"from": int, "to": int, "why": str}]},
}
RUNS: Shape = {"runs": [RUN], "total": int}
BULK: Shape = {
    "runs": [{"job_id": (str, int, None), "run": (RUN, None), "problem": ({"status": int, "detail": str}, None)}],
    "accepted": int,
    "refused": int,
}
HEALTH: Shape = {"active_runs": int, "max_concurrency": int, "queued": int, "paused": bool}
STATISTICS: Shape = {"tz": str, "days": [{"date": str, "counts": {...: int}}]}
TICKET: Shape = {"ticket": str, "expires_in_seconds": int}
REQUEST: Shape = {"job_id": str}

_MAX_INTEGER = 2**63


def parse(content: bytes) -> Any:
    """Return the JSON value; None if it is not JSON that can be sent on: with `NaN`, or half of a surrogate pair."""
    try:
        document = json.loads(content)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return document


def conforms(value: Any, shape: Shape) -> bool:
    """Return whether a JSON value has this shape. A field that may be null may also be missing."""
    match shape:
        case None:
            return value is None
        case re.Pattern():
            return isinstance(value, str) and shape.fullmatch(value) is not None
        case tuple():
            return any(conforms(value, each) for each in shape)
        case list():
            return isinstance(value, list) and all(conforms(each, shape[0]) for each in value)
        case dict() if ... in shape:
            return isinstance(value, dict) and all(conforms(each, shape[...]) for each in value.values())
        case dict():
            return isinstance(value, dict) and all(conforms(value.get(name), each) for name, each in shape.items())
    if shape is int and isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < _MAX_INTEGER
    return isinstance(value, shape)
