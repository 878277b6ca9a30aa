"""Cleans text from outside where it comes in, so that encoding it cannot fail later.

Python represents a byte of a file name that is not UTF-8, and half of a surrogate pair in JSON (`"\\ud83d"`), as a lone
surrogate, which no UTF-8 encoder accepts. Python's JSON also has `NaN` and `Infinity`, which no browser's `JSON.parse`
accepts.
"""

from __future__ import annotations

import json
import math
from typing import Any

_MAX_DEPTH = 50
_INT64 = range(-(2**63), 2**63)


def clean_text(text: str) -> str:
    """Replace each lone surrogate with U+FFFD, and each surrogate pair with its character."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """Return the text, cleaned and on one line, for a line of a log."""
    return " ".join(clean_text(text).splitlines())


def clean_json(value: Any, *, depth: int = 0) -> Any:
    """Return a JSON value with cleaned text, at most 50 levels deep.

    `NaN` and the infinities become None. An integer of more than 64 bits, which MongoDB cannot store, becomes a float,
    as in browsers.
    """
    match value:
        case str():
            return clean_text(value)
        case float() if not math.isfinite(value):
            return None
        case int() if value not in _INT64:
            return _float(value)
        case dict() | list() | tuple() if depth >= _MAX_DEPTH:
            return "…"
        case dict():
            return {clean_text(str(name)): clean_json(each, depth=depth + 1) for name, each in value.items()}
        case list() | tuple():
            return [clean_json(each, depth=depth + 1) for each in value]
        case _:
            return value


def _float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def to_json(document: Any) -> str:
    """Return a document as one line of JSON that every browser can parse."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):  # it was not cleaned before
        text = json.dumps(clean_json(document), ensure_ascii=False, allow_nan=False)
    return text
