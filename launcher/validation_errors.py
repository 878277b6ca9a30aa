"""pydantic's errors in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "json_invalid": "is not valid JSON",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
_SUBJECT = re.compile(r"^[A-Z]\w* should ")
_COUNT = re.compile(r" after validation, not \w+$")


def in_words(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a field, to follow its name: "must be a valid integer"."""
    kind, text = error["type"], str(error["msg"])
    if kind == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "must not be empty"
    return _WORDS.get(kind) or _COUNT.sub("", _SUBJECT.sub("must ", text.removeprefix("Value error, ")))
