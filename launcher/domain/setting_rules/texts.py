"""Rules for texts, secrets and numbers."""

from __future__ import annotations

import math
import re

MAKE_ONE = "make one with: openssl rand -hex 32"
MIN_SECRET_BYTES, MIN_SECRET_CHARACTERS = 32, 8
_QUOTES = ("'", '"')
_LARGEST = {"_SECONDS": 315_360_000, "_DAYS": 36_500, "_BYTES": 1 << 50}
"""The default maximums: ten years, a hundred years, a pebibyte. Dates and databases fail beyond them."""
_LARGEST_COUNT = 1_000_000_000


class Unusable(ValueError):
    """A setting's value is not valid. The message has the setting, the reason and what to do, never the value."""


def plain(name: str, value: str) -> str:
    """Return a value that has no quotation marks or spaces around it, and no control characters."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        raise Unusable(f"{name} has quotation marks around it that were meant for a shell: remove them")
    if value.endswith(("\n", "\r")):
        raise Unusable(f"{name} ends with a line break, which echo adds: set it again with printf %s")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value):
        raise Unusable(f"{name} contains a line break or another control character: remove it")
    if value != value.strip():
        raise Unusable(f"{name} starts or ends with a space: remove it")
    return value


def password(name: str, value: str) -> str:
    """Return a password that people type."""
    plain(name, value)
    if not value.isascii():
        raise Unusable(f"{name} contains characters that not every keyboard has: use only ASCII")
    if value[:1] in _QUOTES or value[-1:] in _QUOTES:
        raise Unusable(f"{name} starts or ends with a quotation mark that was meant for a shell: remove it")
    return value


def secret(name: str, value: str) -> str:
    """Return a secret, token or key that can be sent in an HTTP header."""
    plain(name, value)
    if not value.isascii():
        raise Unusable(
            f"{name} contains characters other than ASCII, which cannot be sent in an HTTP header: copy it again"
        )
    if " " in value:
        raise Unusable(f"{name} contains a space, which secrets, tokens and keys never do: copy it again")
    return password(name, value)


def strong_secret(name: str, value: str) -> str:
    """Return a secret that is too long to guess."""
    secret(name, value)
    if len(value) < MIN_SECRET_BYTES or len(set(value)) < MIN_SECRET_CHARACTERS:
        raise Unusable(f"{name} has fewer than {MIN_SECRET_BYTES} bytes, or repeats a few characters; {MAKE_ONE}")
    return value


def number(
    name: str, value: str, least: float = 0, most: float | None = None, *, whole: bool = True, above: bool = False
) -> str:
    """Return a decimal number from `least` to `most`, or above `least` with `above`."""
    plain(name, value)
    if most is None:
        most = next((largest for ending, largest in _LARGEST.items() if name.endswith(ending)), _LARGEST_COUNT)
    form = r"-?[0-9]{1,18}" if whole else r"-?[0-9]{1,18}(\.[0-9]{1,18})?"
    if re.fullmatch(form, value):
        found = float(value)
        if math.isfinite(found) and (least < found if above else least <= found) and found <= most:
            return value
    kind = "a whole number" if whole else "a number such as 30 or 0.5"
    scope = f"above {least:g}, up to {most:.15g}" if above else f"from {least:g} to {most:.15g}"
    raise Unusable(f"{name} must be {kind} {scope}, in decimal digits")
