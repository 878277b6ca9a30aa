"""HTTP clients for the launcher: without a proxy, and with its certificate verified.

HTTPS_PROXY and the like are for external hosts: a proxy between the front end and the launcher would see the secret.
SSL_CERT_FILE and SSL_CERT_DIR are respected, for example for a private CA.
"""

from __future__ import annotations

from functools import cache
from ssl import SSLContext

import httpx

from frontend.config import ConfigurationError


def client(timeout: float | httpx.Timeout) -> httpx.Client:
    """A client for one call; the caller closes it."""
    return httpx.Client(timeout=timeout, trust_env=False, verify=ssl_context())


@cache
def ssl_context() -> SSLContext:
    """The trusted certificate authorities; ConfigurationError if their file is unusable."""
    try:
        return httpx.create_ssl_context(trust_env=True)
    except OSError as exc:
        raise ConfigurationError(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {exc.strerror or exc}") from None
