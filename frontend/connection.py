"""The connection to the launcher: never by a proxy, and with its certificate checked.

A proxy that the environment names is for the outside; one between us and the launcher would read the secret. What
SSL_CERT_FILE or SSL_CERT_DIR names, such as a CA of one's own, holds all the same.
"""

from __future__ import annotations

from functools import cache
from ssl import SSLContext

import httpx

from frontend.config import ConfigurationError


def client(timeout: float | httpx.Timeout) -> httpx.Client:
    """A client for one call; the caller closes it."""
    return httpx.Client(timeout=timeout, trust_env=False, verify=trusted())


@cache
def trusted() -> SSLContext:
    """The authorities that certificates are checked with; ConfigurationError where their file cannot be used."""
    try:
        return httpx.create_ssl_context(trust_env=True)
    except OSError as exc:
        raise ConfigurationError(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {exc.strerror or exc}") from None
