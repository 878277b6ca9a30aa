"""Connections to services outside, by the proxy that the environment names, if it names one."""

from __future__ import annotations

from typing import Any

import httpx


class OutsideError(Exception):
    """No connection can be made with this environment; the message is a sentence for people, without any value."""


def client(**options: Any) -> httpx.Client:
    """Return a client; close it after use.

    Raises:
        OutsideError: The environment's proxy or certificates are of no use.
    """
    try:
        return httpx.Client(**options)
    except (ImportError, ValueError, httpx.InvalidURL):  # SOCKS, which is not installed, or what is not an address
        msg = (
            "The proxy that the environment names cannot be used: HTTPS_PROXY and ALL_PROXY take http:// or https://, "
            "and NO_PROXY takes host names."
        )
        raise OutsideError(msg) from None
    except OSError as exc:
        msg = f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be used: {exc.strerror or 'no PEM'}."
        raise OutsideError(msg) from None
