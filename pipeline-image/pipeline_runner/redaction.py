"""Keeping secrets out of the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

SECRET_SUFFIXES = ("_KEY", "_SECRET", "_TOKEN", "_PASSWORD", "_URI")
SHORTEST_SECRET = 6  # characters; anything shorter is no secret, and hiding it would blot out ordinary words


def redact(text: str, environ: Mapping[str, str]) -> str:
    """Replace each secret of the environment that occurs in the text by its name: ``[MONGODB_URI]``.

    Secret are the variables whose names end in one of `SECRET_SUFFIXES`, and the user and password of any address.
    """
    for secret, name in sorted(_secrets(environ), key=lambda pair: (-len(pair[0]), pair)):
        text = text.replace(secret, f"[{name}]")
    return text


def _secrets(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        secrets = set(_credentials(value))
        if name.endswith(SECRET_SUFFIXES):
            secrets.add(value)
        yield from ((secret, name) for secret in secrets if len(secret) >= SHORTEST_SECRET)


def _credentials(value: str) -> Iterator[str]:
    """User and password of an address, as written and decoded: drivers quote them one by one in their errors."""
    _scheme, separator, rest = value.partition("://")
    userinfo, at, _host = rest.rpartition("@")
    if not (separator and at):
        return
    yield userinfo
    password = userinfo.partition(":")[2]
    yield password
    yield unquote(password)
