"""HTTP: where the launcher is, and the origins that pages come from."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from .hosts import HOST, check_host
from .texts import Unusable, plain

_PATH = re.compile(r"[A-Za-z0-9._~/%-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def http_url(name: str, value: str) -> str:
    """Return the URL of a launcher, in lower case up to its path and without a slash at the end."""
    parts = _split(name, value, "for example https://runner.example.com")
    if not _PATH.fullmatch(parts.path) or "?" in value or "#" in value:
        raise Unusable(f"{name} must end with its host, port or path: no query, no fragment, no spaces")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")


def origins(name: str, value: str) -> str:
    """Return origins as browsers send them, comma-separated; a slash at the end and a default port are dropped."""
    plain(name, value)
    return ",".join(_origin(name, each) for part in value.split(",") if (each := part.strip()))


def _origin(name: str, value: str) -> str:
    if value == "*":
        return value
    form = "for example https://your-app.vercel.app"
    if value == "null" or "*" in value:
        raise Unusable(f"{name}: name each origin in full, {form}; null and wildcards match no page")
    if "://" not in value and HOST.fullmatch(value.split(":")[0].split("/")[0]):
        raise Unusable(f"{name}: an origin begins with http:// or https://, {form}")
    parts = _split(name, value, form)
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    origin = f"{parts.scheme}://{host}{port}"
    if parts.path.strip("/") or "?" in value or "#" in value:
        raise Unusable(f"{name}: an origin has no path and no query: write {origin}")
    return origin


def _split(name: str, value: str, form: str) -> SplitResult:
    """Split an HTTP URL whose host and port are usable. Its scheme is in lower case."""
    plain(name, value)
    if "@" in value.split("//", 1)[-1].split("/", 1)[0]:
        raise Unusable(f"{name} must not contain a user name or a password: write it without, {form}")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in _DEFAULT_PORTS and parts.hostname and value.isascii() and "\\" not in value
    except ValueError:
        usable = False
    if not usable:
        raise Unusable(f"{name} is not a valid URL: it begins with http:// or https:// and an ASCII host, {form}")
    check_host(name, parts.netloc)
    return parts
