"""The front end's settings, from the environment."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from frontend.password import HOW_TO_MAKE_ONE, weakness
from frontend.setting_rules import checked

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
NAMES = (
    *("RUNNER_URL", "RUNNER_PUBLIC_URL", "RUNNER_API_SECRET", "FRONTEND_PASSWORD", "FRONTEND_SECRET_KEY"),
    *("FRONTEND_HOSTS", "FRONTEND_PROXIES", "STREAM_SECONDS", "MONGODB_URI"),
)
"""The variables it reads, apart from its host and port and POSTINGS_DIR."""


class ConfigurationError(ValueError):
    """The configuration is invalid; the message says what to set."""


@dataclass(frozen=True)
class Config:
    """The front end's settings.

    `stream_seconds` is the longest time that it keeps one event stream open. `public_url` is the launcher's URL for
    browsers, empty if they cannot reach it. `proxies` is the number of trusted proxies in front of the front end;
    `hosts` are the allowed values of the Host header, empty for any.
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
        """The other origin that pages may connect to; empty if there is none."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}" if self.public_url else ""


def read_config(environment: Mapping[str, str], host: str) -> Config:
    """The settings for serving on `host`; ConfigurationError lists everything that is missing or invalid."""
    values, faults = checked(environment, NAMES)
    wrong = {name for name in NAMES if environment.get(name)} - values.keys()
    faults += [fault for name, fault in _missing(environment, host).items() if name not in wrong]
    password, secret = values.get("FRONTEND_PASSWORD", ""), values.get("RUNNER_API_SECRET", "")
    if password and environment.get("SLIPWAY_ENV") != "development" and (why := weakness(password, secret)):
        faults.append(f"FRONTEND_PASSWORD {why}. {HOW_TO_MAKE_ONE}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    proxies = int(values.get("FRONTEND_PROXIES", "1" if environment.get("VERCEL") else "0"))
    hosts = tuple(name for name in values.get("FRONTEND_HOSTS", "").split(",") if name)
    return Config(
        runner_url=values.get("RUNNER_URL", "http://127.0.0.1:8000"),
        runner_secret=secret,
        password=password,
        session_key=_session_key(values.get("FRONTEND_SECRET_KEY", ""), password, secret),
        stream_seconds=float(values.get("STREAM_SECONDS", "50")),
        public_url=values.get("RUNNER_PUBLIC_URL", ""),
        proxies=proxies,
        hosts=hosts or (() if password else ("127.0.0.1", "localhost", "[::1]")),  # against DNS rebinding
        secure_cookie=host not in LOOPBACK or proxies > 0,
    )


def _missing(environment: Mapping[str, str], host: str) -> dict[str, str]:
    """The settings that are required and not set, each with a message."""
    found = []
    password = environment.get("FRONTEND_PASSWORD", "")
    if not password and not (environment.get("SLIPWAY_ENV") == "development" and host in LOOPBACK):
        how = "set it, or set SLIPWAY_ENV=development to try Slipway on this machine only."
        found.append(("FRONTEND_PASSWORD", how))
    if password and not environment.get("RUNNER_API_SECRET"):
        found.append(("RUNNER_API_SECRET", "set it to the launcher's value."))
    if environment.get("VERCEL") and not environment.get("MONGODB_URI"):
        why = "it holds the postings and counts sign-in attempts for all instances."
        found.append(("MONGODB_URI", why))
    return {name: f"{name} is not set: {what}" for name, what in found}


def _session_key(given: str, password: str, secret: str) -> bytes:
    """The same key for all instances of the function; a new password or secret signs everyone out.

    With neither, in development, a random key: with a known key other pages could forge sessions.
    """
    key = (given or secret).encode() or secrets.token_bytes(32)
    return hmac.digest(key, b"slipway session\0" + password.encode(), "sha256")
