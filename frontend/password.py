"""Which passwords are too easy to guess for pages that start runs."""

from __future__ import annotations

import re
from itertools import pairwise

LEAST_CHARACTERS = 12
HOW_TO_MAKE_ONE = "Make one with: openssl rand -base64 18"
_LEAST_DIFFERENT = 5
_OBVIOUS = re.compile(
    "pass(word|wort|wd).*"
    "|(qwerty|qwertz|asdf|letmein|opensesame|changeme|change|replace|secret|frontend|slipway|runner|pipeline|admin"
    "|administrator|welcome|example|default|test|this|your|here|the|my|me|it|is|a|pass(word|wort|wd))+"
)
_LEET = str.maketrans("0134578@$!", "oleastbasi")
_NO_LETTER = re.compile(r"[\W\d_]+")


def weakness(password: str, secret: str) -> str:
    """Return what is wrong with a password, to be read after its name; empty if it is good enough."""
    if password != password.strip():
        return "begins or ends with a space or a line break, which nobody can type"
    if len(password) < LEAST_CHARACTERS:
        return f"has fewer than {LEAST_CHARACTERS} characters"
    if password == secret:
        return "is the same as RUNNER_API_SECRET, which only programs may know"
    if len(set(password)) < _LEAST_DIFFERENT or _is_sequence(password) or _is_obvious(password):
        return "is one of the first that somebody would guess"
    return ""


def _is_sequence(text: str) -> bool:
    """Whether each character follows the one before, as in 123456789012 or mlkjihgfedcb."""
    return len({(ord(after) - ord(before)) % 10 for before, after in pairwise(text)}) == 1


def _is_obvious(text: str) -> bool:
    """Whether nothing but obvious words are left without digits, signs and the digits that stand for letters."""
    lower = text.casefold()
    return any(_OBVIOUS.fullmatch(_NO_LETTER.sub("", letters)) for letters in (lower, lower.translate(_LEET)))
