"""Redaction of secrets in the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

SECRET_SUFFIXES = ("_KEY", "_SECRET", "_TOKEN", "_PASSWORD", "_URI")
MIN_SECRET_LENGTH = 6  # characters; redacting shorter values would hide ordinary words


def redact(text: str, environ: Mapping[str, str]) -> str:
    """Replace each secret from the environment with its name: ``[MONGODB_URI]``.

    Secrets are variables whose names end in one of `SECRET_SUFFIXES`, and the user and password in any URL.
    """
    for secret, name in sorted(_secrets(environ), key=lambda pair: (-len(pair[0]), pair)):
        text = text.replace(secret, f"[{name}]")
    return text


def _secrets(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        secrets = set(_credentials(value))
        if name.endswith(SECRET_SUFFIXES):
            secrets.add(value)
        yield from ((secret, name) for secret in secrets if len(secret) >= MIN_SECRET_LENGTH)


def _credentials(value: str) -> Iterator[str]:
    """The user and password of a URL, as written and decoded: drivers quote them separately in their errors."""
    _scheme, separator, rest = value.partition("://")
    userinfo, at, _host = rest.rpartition("@")
    if not (separator and at):
        return
    yield userinfo
    password = userinfo.partition(":")[2]
    yield password
    yield unquote(password)
