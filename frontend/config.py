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
"""What it reads, beside its own address and the folder of postings."""


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
    """The settings for serving on `host`; ConfigurationError says everything that is missing or wrong."""
    values, faults = checked(environment, NAMES)
    wrong = {name for name in NAMES if environment.get(name)} - values.keys()
    faults += [fault for name, fault in _missing(environment, host).items() if name not in wrong]
    password, secret = values.get("FRONTEND_PASSWORD", ""), values.get("RUNNER_API_SECRET", "")
    if password and environment.get("SLIPWAY_ENV") != "development" and (why := weakness(password, secret)):
        faults.append(f"FRONTEND_PASSWORD {why}. {HOW_TO_MAKE_ONE}")
    if faults:
        raise ConfigurationError("\n".join(faults))
    proxies = int(values.get("FRONTEND_PROXIES", "1" if environment.get("VERCEL") else "0"))
    hosts = tuple(name.strip() for name in environment.get("FRONTEND_HOSTS", "").split(",") if name.strip())
    return Config(
        runner_url=values.get("RUNNER_URL", "http://127.0.0.1:8000"),
        runner_secret=secret,
        password=password,
        session_key=_session_key(values.get("FRONTEND_SECRET_KEY", ""), password, secret),
        stream_seconds=float(values.get("STREAM_SECONDS", "50")),
        public_url=values.get("RUNNER_PUBLIC_URL", ""),
        proxies=proxies,
        hosts=hosts or (() if password else ("127.0.0.1", "localhost", "[::1]")),  # a name that leads here by trickery
        secure_cookie=host not in LOOPBACK or proxies > 0,
    )


def _missing(environment: Mapping[str, str], host: str) -> dict[str, str]:
    """What is not set and has to be, by setting."""
    found = []
    password = environment.get("FRONTEND_PASSWORD", "")
    if not password and not (environment.get("SLIPWAY_ENV") == "development" and host in LOOPBACK):
        how = "set it, or SLIPWAY_ENV=development to try it on this machine alone."
        found.append(("FRONTEND_PASSWORD", how))
    if password and not environment.get("RUNNER_API_SECRET"):
        found.append(("RUNNER_API_SECRET", "give it the value that the launcher has."))
    if environment.get("VERCEL") and not environment.get("MONGODB_URI"):
        why = "the postings are there, and all instances count attempts to sign in there."
        found.append(("MONGODB_URI", why))
    return {name: f"{name} is not set: {what}" for name, what in found}


def _session_key(given: str, password: str, secret: str) -> bytes:
    """One key for all instances of the function: a new password or secret signs everybody out.

    With neither, in development, a key of this start alone: a known one would let other pages make sessions.
    """
    key = (given or secret).encode() or secrets.token_bytes(32)
    return hmac.digest(key, b"slipway session\0" + password.encode(), "sha256")
