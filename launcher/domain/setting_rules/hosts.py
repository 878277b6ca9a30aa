"""Hosts and ports in URLs."""

from __future__ import annotations

import ipaddress
import re

from .texts import Unusable

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")


def check_host(name: str, text: str) -> None:
    """Raise `Unusable` unless the text is a host, optionally with a port."""
    found = re.fullmatch(r"(?P<host>\[[^][]*\]|[^][:]*)(:(?P<port>.*))?", text)
    if found and not found["host"]:
        raise Unusable(f"{name} has no host")
    if found and found["port"] is not None:
        port = found["port"]
        if not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
            raise Unusable(f"{name}: the port must be a number from 1 to 65535")
    host = found["host"] if found else ""
    if not (is_ip_address(host[1:-1]) if host.startswith("[") else is_host_name(host)):
        raise Unusable(f"{name}: the host must be a name, an IPv4 address, or an IPv6 address in square brackets")


def is_host_name(text: str) -> bool:
    """Whether the text is a host name that can be resolved, or an IPv4 address."""
    labels = text.removesuffix(".").split(".")
    if not HOST.fullmatch(text) or len(text) > 253 or not all(0 < len(label) < 64 for label in labels):
        return False
    if labels[-1].isdigit() and len(labels) > 1:
        return is_ip_address(text)
    try:
        return text.lower() == text.encode().decode("idna").encode("idna").decode().lower()
    except UnicodeError:  # a label that begins with xn-- and encodes nothing
        return False


def is_ip_address(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(text.replace("%25", "%"))
    except ValueError:
        return False
    return True
