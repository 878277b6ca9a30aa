"""Why the launcher cannot be reached, in words, and what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import httpx


class Cause(NamedTuple):
    """What happened, and how to fix it."""

    found: str
    do: str


def cause_of(error: Exception) -> Cause:
    """Return the root cause of a failed call."""
    for each in _chain(error):
        match each:
            case ssl.SSLCertVerificationError():
                return Cause(
                    f"its certificate is not trusted: {each.verify_message}",
                    "Use the name in the certificate for RUNNER_URL, or set SSL_CERT_FILE to the CA's certificate.",
                )
            case ssl.SSLError() if "WRONG_VERSION_NUMBER" in str(each) or "RECORD_LAYER_FAILURE" in str(each):
                return Cause("it does not use TLS", "Use http:// in RUNNER_URL, or set up TLS in front of it.")
            case ssl.SSLError():
                return Cause(
                    f"TLS error: {each.reason or each}", "Check the proxy that serves TLS in front of the launcher."
                )
            case socket.gaierror():
                return Cause("the host name does not resolve", "Correct RUNNER_URL, or the name's DNS record.")
            case ConnectionRefusedError():
                return Cause("connection refused", "Start it with slipway-launcher serve, or correct RUNNER_URL.")
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return Cause("connection timed out", "Check that the machine is up and that no firewall blocks it.")
            case httpx.ReadTimeout() | httpx.WriteTimeout():
                return Cause("it did not answer in time", "Check the launcher's log and the load on its machine.")
            case httpx.RemoteProtocolError() | httpx.ReadError():
                do = "Use https:// in RUNNER_URL if the server expects TLS; otherwise check the launcher's log."
                return Cause(f"it closed the connection without an answer ({each or type(each).__name__})", do)
    return Cause(str(error) or type(error).__name__, "Start it with slipway-launcher serve, or correct RUNNER_URL.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors behind this one, the deepest and most specific first."""
    if error is not None:
        yield from _chain(error.__cause__ or error.__context__)
        yield error
