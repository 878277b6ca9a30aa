"""The addresses that the browser may connect to: the public internet and configured networks."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pipeline_runner.errors import PipelineError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
"""The allowed ports of public addresses; configured networks are allowed on every port."""

# Listed explicitly, as the standard library's definition of a private address changes between versions.
_REFUSED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT, and one cloud's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's host, with a public address
            "169.254.0.0/16",  # link-local, and the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")  # excludes loopback, link-local, private and multicast addresses
_REFUSED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols' own, Teredo among them
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address in disguise
            "3fff::/20",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class EgressRefusedError(Exception):
    """The destination is not allowed; the message names it."""


def networks_from(text: str) -> tuple[Network, ...]:
    """Read ``BROWSER_ALLOWED_NETWORKS``: addresses and ranges, separated by commas.

    Raises:
        PipelineError: One of them is invalid.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return tuple(ip_network(name) for name in names)
    except ValueError as error:
        msg = f"BROWSER_ALLOWED_NETWORKS: {error}. Set ranges such as 10.1.0.0/16, separated by commas."
        raise PipelineError(msg) from error


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet."""
    address = _unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)


def permitted(found: Iterable[str], port: int, allowed: Iterable[Network]) -> list[str]:
    """Return the addresses that may be connected to on this port, in order."""
    allowed = tuple(allowed)
    return [text for text in found if _is_permitted(ip_address(text), port, allowed)]


def _is_permitted(address: Address, port: int, allowed: tuple[Network, ...]) -> bool:
    if any(_unwrapped(address) in network for network in allowed):
        return True
    return port in PUBLIC_PORTS and is_public(address)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address maps to, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
