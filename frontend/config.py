"""The front end's settings, from the environment."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ConfigurationError(ValueError):
    """The environment does not do; the message says what to set."""


@dataclass(frozen=True)
class Config:
    """What the front end needs to know; `stream_seconds` is how long it holds one event stream."""

    runner_url: str
    runner_secret: str = field(repr=False)
    password: str = field(repr=False)
    session_key: bytes = field(repr=False)
    stream_seconds: float


def read_config(environment: Mapping[str, str], host: str) -> Config:
    """The settings for serving on `host`; ConfigurationError says what is missing or wrong."""
    password = environment.get("FRONTEND_PASSWORD", "")
    if not password and not (environment.get("SLIPWAY_ENV") == "development" and host in LOOPBACK):
        raise ConfigurationError(
            "FRONTEND_PASSWORD is not set: set it, or SLIPWAY_ENV=development to try it on this machine alone."
        )
    secret = environment.get("RUNNER_API_SECRET", "")
    if password and not secret:
        raise ConfigurationError("RUNNER_API_SECRET is not set: give it the value that the launcher has.")
    seconds = environment.get("STREAM_SECONDS", "50")
    try:
        stream_seconds = float(seconds)
    except ValueError:
        stream_seconds = 0.0
    if not 1 <= stream_seconds <= 3600:
        raise ConfigurationError(f"STREAM_SECONDS={seconds!r} is no number of seconds from 1 to 3600.")
    return Config(
        runner_url=environment.get("RUNNER_URL", "http://127.0.0.1:8000").rstrip("/"),
        runner_secret=secret,
        password=password,
        session_key=_session_key(environment.get("FRONTEND_SECRET_KEY", ""), password, secret),
        stream_seconds=stream_seconds,
    )


def _session_key(given: str, password: str, secret: str) -> bytes:
    """One key for all instances of the function: a new password or secret signs everybody out."""
    return hmac.digest((given or secret).encode(), b"slipway session\0" + password.encode(), "sha256")
