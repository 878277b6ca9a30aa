"""A check for passwords that are too easy to guess."""

from __future__ import annotations

import re
from itertools import pairwise

MIN_CHARACTERS = 12
HOW_TO_MAKE_ONE = "Generate one with: openssl rand -base64 18"
_MIN_DISTINCT = 5
_OBVIOUS = re.compile(
    "pass(word|wort|wd).*"
    "|(qwerty|qwertz|asdf|letmein|opensesame|changeme|change|replace|secret|frontend|slipway|runner|pipeline|admin"
    "|administrator|welcome|example|default|test|this|your|here|the|my|me|it|is|a|pass(word|wort|wd))+"
)
_LEET = str.maketrans("0134578@$!", "oleastbasi")
_NO_LETTER = re.compile(r"[\W\d_]+")


def weakness(password: str, secret: str) -> str:
    """Return what is wrong with a password, as a phrase that follows its name; empty if it is good enough."""
    if password != password.strip():
        return "begins or ends with a space or a line break"
    if len(password) < MIN_CHARACTERS:
        return f"has fewer than {MIN_CHARACTERS} characters"
    if password == secret:
        return "is the same as RUNNER_API_SECRET, which must stay on the server"
    if len(set(password)) < _MIN_DISTINCT or _is_sequence(password) or _is_obvious(password):
        return "is too easy to guess"
    return ""


def _is_sequence(text: str) -> bool:
    """Whether the characters form a sequence, such as 123456789012 or mlkjihgfedcb."""
    return len({(ord(after) - ord(before)) % 10 for before, after in pairwise(text)}) == 1


def _is_obvious(text: str) -> bool:
    """Whether only common words remain once digits and symbols are removed or read as letters."""
    lower = text.casefold()
    return any(_OBVIOUS.fullmatch(_NO_LETTER.sub("", letters)) for letters in (lower, lower.translate(_LEET)))
