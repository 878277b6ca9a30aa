"""The front end's settings, from the environment."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from frontend.password import HOW_TO_MAKE_ONE, weakness

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MOST_PROXIES = 10


class ConfigurationError(ValueError):
    """The environment does not do; the message says what to set."""


@dataclass(frozen=True)
class Config:
    """What the front end needs to know.

    `stream_seconds` is how long it holds one event stream. `public_url` is where browsers reach the launcher
    themselves, empty where they do not. `proxies` stand before the front end and tell who calls; `hosts` are the
    names it answers to, none meaning any.
    """

    runner_url: str
    runner_secret: str = field(repr=False)
    password: str = field(repr=False)
    session_key: bytes = field(repr=False)
    stream_seconds: float
    public_url: str
    proxies: int
    hosts: tuple[str, ...]
    secure_cookie: bool

    @property
    def public_origin(self) -> str:
        """The origin that pages may connect to beside their own; empty where there is none."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}" if self.public_url else ""


def read_config(environment: Mapping[str, str], host: str) -> Config:
    """The settings for serving on `host`; ConfigurationError says what is missing or wrong."""
    password = environment.get("FRONTEND_PASSWORD", "")
    if not password and not (environment.get("SLIPWAY_ENV") == "development" and host in LOOPBACK):
        raise ConfigurationError(
            "FRONTEND_PASSWORD is not set: set it, or SLIPWAY_ENV=development to try it on this machine alone."
        )
    secret = environment.get("RUNNER_API_SECRET", "")
    if password and environment.get("SLIPWAY_ENV") != "development" and (why := weakness(password, secret)):
        raise ConfigurationError(f"FRONTEND_PASSWORD {why}. {HOW_TO_MAKE_ONE}")
    if password and not secret:
        raise ConfigurationError("RUNNER_API_SECRET is not set: give it the value that the launcher has.")
    if environment.get("VERCEL") and not environment.get("MONGODB_URI"):
        raise ConfigurationError(
            "MONGODB_URI is not set: the postings are there, and all instances count attempts to sign in there."
        )
    proxies = _number(environment, "FRONTEND_PROXIES", "1" if environment.get("VERCEL") else "0", 0, MOST_PROXIES)
    hosts = tuple(name.strip() for name in environment.get("FRONTEND_HOSTS", "").split(",") if name.strip())
    return Config(
        runner_url=_address(environment.get("RUNNER_URL") or "http://127.0.0.1:8000", "RUNNER_URL"),
        runner_secret=secret,
        password=password,
        session_key=_session_key(environment.get("FRONTEND_SECRET_KEY", ""), password, secret),
        stream_seconds=_number(environment, "STREAM_SECONDS", "50", 1, 3600),
        public_url=_address(environment.get("RUNNER_PUBLIC_URL", ""), "RUNNER_PUBLIC_URL"),
        proxies=int(proxies),
        hosts=hosts or (() if password else ("127.0.0.1", "localhost", "[::1]")),  # a name that leads here by trickery
        secure_cookie=host not in LOOPBACK or proxies > 0,
    )


def _number(environment: Mapping[str, str], name: str, default: str, least: int, most: int) -> float:
    text = environment.get(name, default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise ConfigurationError(f"{name}={text!r} is no number from {least} to {most}.")
    return number


def _address(text: str, name: str) -> str:
    """An address without a trailing slash, fit for a header; empty stays empty."""
    try:
        parts = urlsplit(text)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fit = False
    plain = text.isascii() and text.isprintable() and not any(sign in text for sign in " ,;'\"@?#\\")
    if text and not (fit and plain):
        raise ConfigurationError(f"{name}={text!r} is no address such as https://runner.example.com.")
    return text.rstrip("/")


def _session_key(given: str, password: str, secret: str) -> bytes:
    """One key for all instances of the function: a new password or secret signs everybody out.

    With neither, in development, a key of this start alone: a known one would let other pages make sessions.
    """
    key = (given or secret).encode() or secrets.token_bytes(32)
    return hmac.digest(key, b"slipway session\0" + password.encode(), "sha256")
