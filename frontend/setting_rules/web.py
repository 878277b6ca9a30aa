"""The launcher's URL, and origins of web pages."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from .hosts import HOST, check_host, is_host_name, is_ip_address
from .texts import Unusable, plain

_PATH = re.compile(r"[A-Za-z0-9._~/%-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def http_url(name: str, value: str) -> str:
    """Return an HTTP URL, in lower case before its path and without a trailing slash."""
    parts = _split(name, value, "https://runner.example.com")
    if not _PATH.fullmatch(parts.path) or "?" in value or "#" in value:
        raise Unusable(f"{name} must not contain a query, a fragment or spaces")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def host_names(name: str, value: str) -> str:
    """Return comma-separated host names or addresses; a leading dot includes subdomains."""
    plain(name, value)
    hosts = [each for part in value.split(",") if (each := part.strip())]
    for host in hosts:
        text = host.removeprefix(".")
        if not (is_ip_address(text[1:-1]) if text.startswith("[") else is_host_name(text)):
            raise Unusable(f"{name}: write hosts without a scheme or a port, for example app.example.com, .example.com")
    return ",".join(hosts)


def origins(name: str, value: str) -> str:
    """Return comma-separated origins as browsers send them, without a trailing slash or a default port."""
    plain(name, value)
    return ",".join(_origin(name, each) for part in value.split(",") if (each := part.strip()))


def _origin(name: str, value: str) -> str:
    if value == "*":
        return value
    example = "https://your-app.vercel.app"
    if value == "null" or "*" in value:
        raise Unusable(
            f"{name}: write each origin in full, for example {example}; null and wildcards are not supported"
        )
    if "://" not in value and HOST.fullmatch(value.split(":")[0].split("/")[0]):
        raise Unusable(f"{name}: an origin starts with http:// or https://, for example {example}")
    parts = _split(name, value, example)
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    origin = f"{parts.scheme}://{host}{port}"
    if parts.path.strip("/") or "?" in value or "#" in value:
        raise Unusable(f"{name}: an origin has no path or query: write {origin}")
    return origin


def _split(name: str, value: str, example: str) -> SplitResult:
    """Split an HTTP URL with a valid host and port. Its scheme is returned in lower case."""
    plain(name, value)
    if "@" in value.split("//", 1)[-1].split("/", 1)[0]:
        raise Unusable(f"{name} must not contain a user name or a password: remove them")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in _DEFAULT_PORTS and parts.hostname and value.isascii() and "\\" not in value
    except ValueError:
        usable = False
    if not usable:
        raise Unusable(f"{name} is not a valid URL. Use a form like {example}")
    check_host(name, parts.netloc)
    return parts
