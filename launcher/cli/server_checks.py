"""The doctor's checks of the public host name: its DNS records and its certificate; and of the clocks."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from launcher.cli.findings import Finding

_CONNECT_SECONDS = 10
_HTTPS = 443
_RENEWAL_SHARE = 0.2
"""Traefik renews a certificate when a third of its lifetime is left. At a fifth, renewal has been failing for weeks."""
_CLOCK_WARN_SECONDS, _CLOCK_FAIL_SECONDS = 5, 60
_TRAEFIK_DEFAULT = b"TRAEFIK DEFAULT CERT"
_REASON = (
    "Traefik's log has the reason: kubectl -n kube-system logs deployment/traefik; "
    "if another Traefik serves port 443 on this server, that one's log."
)
_ISSUE = (
    f"Let's Encrypt issues one within two minutes, if the name resolves to this server and port 443 is open. {_REASON}"
)
_SYNC = "Turn on time synchronization on the node, for example: timedatectl set-ntp true"


def dns_findings(
    host: str, records: Mapping[str, list[str] | None] | None, nodes: Collection[str]
) -> Iterator[Finding]:
    """Check that the name's A and AAAA records have this server's addresses. `records` is the probe's answer."""
    ipv4, ipv6 = (records or {}).get("A"), (records or {}).get("AAAA")
    if ipv4 is None or ipv6 is None:
        do = "Check the node's DNS servers, and run this again."
        yield Finding("DNS", "warn", f"not checked: {host} could not be looked up in the cluster", do)
        return
    yield _a_record(host, ipv4, nodes)
    if ipv6:
        yield _aaaa_record(host, ipv6, nodes)


def _a_record(host: str, found: Sequence[str], nodes: Collection[str]) -> Finding:
    ours = ", ".join(sorted(each for each in nodes if _is_ipv4(each))) or "unknown"
    if not found:
        return Finding("DNS A", "fail", f"{host} has no A record", f"Create one for this server's address ({ours}).")
    elsewhere = [each for each in found if not _is_ours(each, nodes)]
    if not elsewhere:
        return Finding("DNS A", "ok", f"{host} is {', '.join(found)}, this server")
    text = f"{host} is {', '.join(elsewhere)}, which is not an address of this server ({ours})"
    do = "Correct the A record, unless the provider translates addresses or a proxy is in front of this server."
    return Finding("DNS A", "warn", text, do)  # if the other server is a wrong one, its certificate is wrong too


def _aaaa_record(host: str, found: Sequence[str], nodes: Collection[str]) -> Finding:
    shown = ", ".join(found)
    remove = "Remove the AAAA record, or make it work: browsers and Let's Encrypt prefer IPv6."
    if any(not _is_ours(each, nodes) for each in found):
        return Finding("DNS AAAA", "warn", f"{host} is {shown}, which is not an address of this server", remove)
    if any(_refuses(each) for each in found):
        text = f"{host} is {shown}, this server, but it refuses connections on port 443"
        return Finding("DNS AAAA", "warn", text, f"{remove} k3s serves IPv4 only unless it was set up for both.")
    return Finding("DNS AAAA", "ok", f"{host} is {shown}, this server")


def _is_ours(address: str, nodes: Collection[str]) -> bool:
    """Whether it is an address of a node, or of this machine, on which k8s/install.sh runs."""
    if address in nodes:
        return True
    family = socket.AF_INET if _is_ipv4(address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True


def _is_ipv4(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 4
    except ValueError:  # a node's address can be a name
        return False


def _refuses(address: str) -> bool:
    try:
        socket.create_connection((address, _HTTPS), _CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # this machine may have no IPv6
        return False
    return False


def certificate_finding(host: str, address: str | None = None, port: int = _HTTPS) -> Finding:
    """Check the certificate that the server shows for a name. `address` is where to connect, if not by the name."""
    target = (address or host, port)
    try:
        shown = _certificate(target, host, ssl.create_default_context())
    except ssl.SSLCertVerificationError as exc:
        return _not_trusted(target, host, exc.verify_message)
    except OSError as exc:
        do = "Check that the name resolves to this server, and that port 443 is open, also at the provider."
        return Finding("certificate", "fail", f"https://{host} does not answer at {target[0]}: {exc}", do)
    begin, end = (ssl.cert_time_to_seconds(str(shown[name])) for name in ("notBefore", "notAfter"))
    left = end - time.time()
    issuer = dict(pair for part in shown["issuer"] for pair in part)
    text = f"issued by {issuer.get('organizationName') or issuer.get('commonName')}, {left / 86400:.0f} days left"
    if left < _RENEWAL_SHARE * (end - begin):
        return Finding("certificate", "warn", f"{text}: it was not renewed", _REASON)
    return Finding("certificate", "ok", text)


def _certificate(target: tuple[str, int], host: str, trust: ssl.SSLContext) -> dict[str, Any]:
    with (
        socket.create_connection(target, _CONNECT_SECONDS) as plain,
        trust.wrap_socket(plain, server_hostname=host) as secured,
    ):
        der = secured.getpeercert(binary_form=True) or b""
        return {**(secured.getpeercert() or {}), "der": der}


def _not_trusted(target: tuple[str, int], host: str, why: str) -> Finding:
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    try:
        der = _certificate(target, host, anything)["der"]
    except OSError:
        der = b""
    if _TRAEFIK_DEFAULT in der:
        return Finding("certificate", "fail", f"none yet: Traefik shows its own default certificate for {host}", _ISSUE)
    return Finding("certificate", "fail", f"not valid for {host}: {why}", _ISSUE)


def clock_findings(node_ahead: float | None, server_ahead: tuple[float, float]) -> Iterator[Finding]:
    """Compare the node's clock with the internet's, and the API server's with this machine's.

    `node_ahead` is None if no server on the internet was reached. `server_ahead` is the range in which the API server's
    clock is ahead of this machine's.
    """
    if node_ahead is None:
        yield Finding("node's clock", "skip", "not compared: no server on the internet was reached")
    else:
        yield _clock("node's clock", node_ahead, "the internet's", _SYNC)
    least, most = server_ahead
    ahead = least if least > 0 else most if most < 0 else 0.0
    do = "Turn on time synchronization on both: tokens and certificates are valid for a certain time only."
    yield _clock("API server's clock", ahead, "this machine's", do)


def _clock(check: str, ahead: float, other: str, do: str) -> Finding:
    seconds = abs(ahead)
    if seconds < _CLOCK_WARN_SECONDS:
        return Finding(check, "ok", f"agrees with {other}")
    text = f"{seconds:.0f} s {'ahead of' if ahead > 0 else 'behind'} {other}"
    return Finding(check, "fail" if seconds >= _CLOCK_FAIL_SECONDS else "warn", text, do)
