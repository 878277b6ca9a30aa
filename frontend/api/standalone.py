"""What the blueprint `runner` needs in any Flask app: its two settings, and protection from other sites' pages."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Request

from frontend.config import Config, ConfigurationError, read_config

SETTINGS = {
    "RUNNER_URL": "set it to the launcher's address, for example https://runner.example.com.",
    "RUNNER_API_SECRET": "set it to the launcher's own value.",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES = frozenset({"same-origin", "none"})  # none: the person made the request, no page did


def environment_config(environment: Mapping[str, str]) -> Config:
    """Read the two settings as the front end does; ConfigurationError names what is missing or wrong."""
    for name, advice in SETTINGS.items():
        if not environment.get(name):
            raise ConfigurationError(f"{name} is not set: {advice}")
    own = {name: environment[name] for name in SETTINGS}
    return read_config(own | {"SLIPWAY_ENV": "development"}, "127.0.0.1")  # without a password: signing in is the app's


def is_cross_site(request: Request) -> bool:
    """Whether another site's page makes this browser change something.

    `Sec-Fetch-Site` decides, which browsers send over HTTPS and no script can forge. Over plain HTTP they send `Origin`
    alone. Programs send neither, and have no cookies that somebody could abuse.
    """
    if request.method in _SAFE:
        return False
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in _OWN_PAGES
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
