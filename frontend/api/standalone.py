"""What the blueprint `runner` needs in any Flask app: its two settings, and protection against cross-site requests."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Request

from frontend.config import Config, ConfigurationError, read_config

SETTINGS = {
    "RUNNER_URL": "set it to the launcher's URL, for example https://runner.example.com.",
    "RUNNER_API_SECRET": "set it to the launcher's value.",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES = frozenset({"same-origin", "none"})  # none: a person made the request, not a page


def environment_config(environment: Mapping[str, str]) -> Config:
    """Read the two settings as the front end does; ConfigurationError lists what is missing or invalid."""
    for name, advice in SETTINGS.items():
        if not environment.get(name):
            raise ConfigurationError(f"{name} is not set: {advice}")
    own = {name: environment[name] for name in SETTINGS}
    # without a password: sign-in is up to the app
    return read_config(own | {"SLIPWAY_ENV": "development"}, "127.0.0.1")


def is_cross_site(request: Request) -> bool:
    """Whether a page of another site sent this request, which changes something.

    Browsers send `Sec-Fetch-Site` over HTTPS, and scripts cannot forge it. Over plain HTTP they send only `Origin`.
    Other programs send neither, and have no cookies to abuse.
    """
    if request.method in _SAFE:
        return False
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in _OWN_PAGES
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.host.lower()
    except ValueError:  # not a URL
        return True
