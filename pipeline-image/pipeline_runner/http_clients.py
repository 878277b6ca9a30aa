"""HTTP clients for external services, through the proxy from the environment, if any."""

from __future__ import annotations

from typing import Any

import httpx


class HttpSettingsError(Exception):
    """The environment's proxy or certificates are unusable; the message is a sentence without their values."""


def client(**options: Any) -> httpx.Client:
    """Return a client; close it after use.

    Raises:
        HttpSettingsError: The environment's proxy or certificates are unusable.
    """
    try:
        return httpx.Client(**options)
    except (ImportError, ValueError, httpx.InvalidURL):  # SOCKS, which is not installed, or an invalid URL
        msg = (
            "The proxy settings are unusable: HTTPS_PROXY and ALL_PROXY must be http:// or https:// URLs, "
            "and NO_PROXY a list of host names."
        )
        raise HttpSettingsError(msg) from None
    except OSError as exc:
        msg = f"The certificates in SSL_CERT_FILE or SSL_CERT_DIR are unusable: {exc.strerror or 'not PEM'}."
        raise HttpSettingsError(msg) from None
