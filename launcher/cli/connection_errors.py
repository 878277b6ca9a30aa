"""Why the launcher was not reached, in words, and what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import httpx


class Cause(NamedTuple):
    """What happened, and what mends it."""

    found: str
    do: str


def cause_of(error: Exception) -> Cause:
    """Return the cause of a failed call, as deep as it is known."""
    for each in _chain(error):
        match each:
            case ssl.SSLCertVerificationError():
                return Cause(
                    f"its certificate is not trusted: {each.verify_message}",
                    "Use the name that the certificate bears in RUNNER_URL, or let SSL_CERT_FILE name the CA's file.",
                )
            case ssl.SSLError() if "WRONG_VERSION_NUMBER" in str(each) or "RECORD_LAYER_FAILURE" in str(each):
                return Cause("it speaks no TLS there", "Let RUNNER_URL begin with http://, or put TLS before it.")
            case ssl.SSLError():
                return Cause(f"TLS fails: {each.reason or each}", "See what serves TLS before the launcher.")
            case socket.gaierror():
                return Cause("there is no such host name", "Correct RUNNER_URL, or the name's DNS record.")
            case ConnectionRefusedError():
                return Cause("nothing listens there", "Start it with slipway-launcher serve, or correct RUNNER_URL.")
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return Cause(
                    "no connection comes about", "See that the machine is up and no firewall stands before it."
                )
            case httpx.ReadTimeout() | httpx.WriteTimeout():
                return Cause("it does not answer in time", "See the launcher's own log, and the load of its machine.")
            case httpx.RemoteProtocolError() | httpx.ReadError():
                do = "Let RUNNER_URL begin with https:// where TLS is spoken, or see the launcher's own log."
                return Cause(f"it hangs up without an answer ({each or type(each).__name__})", do)
    return Cause(str(error) or type(error).__name__, "Start it with slipway-launcher serve, or correct RUNNER_URL.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors below this one, the deepest first, which says most."""
    if error is not None:
        yield from _chain(error.__cause__ or error.__context__)
        yield error
