"""URLs of Redis and MongoDB. Unlike their drivers' errors, these messages do not repeat the value.

redis-py and PyMongo accept every value that is accepted here; tests compare them.
"""

from __future__ import annotations

import difflib
import re

from .hosts import check_host, is_ip_address
from .texts import Unusable, plain

_ENCODE = "percent-encode : / ? # [ ] @ % in the user name and the password (for example, write @ as %40)"
_BOOLEAN = frozenset({"true", "false"})
_REDIS_NUMBERS = frozenset({"db", "health_check_interval", "max_connections", "protocol", "socket_read_size"})
_REDIS_SECONDS = frozenset({"socket_connect_timeout", "socket_timeout", "timeout"})
_REDIS_SWITCHES = frozenset({"retry_on_timeout", "socket_keepalive"})
_REDIS_TEXTS = frozenset({"client_name", "password", "username"})
_REDIS_TLS = frozenset(
    (
        *("ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers"),
        *("ssl_keyfile", "ssl_password"),
    )
)
_MONGODB_NUMBERS = frozenset(
    (
        *("connecttimeoutms", "heartbeatfrequencyms", "localthresholdms", "maxconnecting", "maxidletimems"),
        *("maxpoolsize", "minpoolsize", "serverselectiontimeoutms", "sockettimeoutms", "timeoutms"),
        *("waitqueuetimeoutms", "wtimeoutms"),
    )
)
_MONGODB_SWITCHES = frozenset(
    (
        *("directconnection", "journal", "loadbalanced", "retryreads", "retrywrites", "ssl", "tls"),
        *("tlsallowinvalidcertificates", "tlsallowinvalidhostnames", "tlsdisableocspendpointcheck", "tlsinsecure"),
    )
)
_MONGODB_TEXTS = frozenset(
    (
        *("appname", "authmechanism", "authmechanismproperties", "authsource", "compressors", "maxstalenessseconds"),
        *("readconcernlevel", "readpreference", "readpreferencetags", "replicaset", "servermonitoringmode"),
        *("srvallowedhostssuffix", "srvmaxhosts", "srvservicename", "tlscafile", "tlscertificatekeyfile"),
        *("tlscertificatekeyfilepassword", "tlscrlfile", "uuidrepresentation", "w", "zlibcompressionlevel"),
    )
)
_OF_SRV = frozenset({"srvallowedhostssuffix", "srvmaxhosts", "srvservicename"})


def redis_url(name: str, value: str) -> str:
    """Return a Redis URL: redis://, rediss:// or unix://."""
    scheme, authority, tail = _parts(name, value, ("redis", "rediss", "unix"), "redis://redis:6379/5")
    path, _, query = tail.partition("?")
    user, _, host = authority.rpartition("@")
    if "[" in user or "]" in user:
        raise Unusable(f"{name}: {_ENCODE}")
    if scheme == "unix":
        if host or len(path) < 2:
            raise Unusable(f"{name} must contain the path of the socket, for example unix:///run/redis.sock?db=5")
    else:
        check_host(name, host)
        if not re.fullmatch(r"(/([0-9]{1,9})?)?", path):
            raise Unusable(f"{name}: the database after the host must be a number, for example /5")
    known = _REDIS_NUMBERS | _REDIS_SECONDS | _REDIS_SWITCHES | _REDIS_TEXTS
    known |= _REDIS_TLS if scheme == "rediss" else frozenset()
    for option, text in _options(name, query, known):
        if not re.fullmatch(_redis_form(option), text):
            raise Unusable(f"{name}: the value of the option {option} is not valid")
    return value


def _redis_form(option: str) -> str:
    if option in _REDIS_NUMBERS:
        return "[23]" if option == "protocol" else "[0-9]{1,9}"
    if option in _REDIS_SECONDS:
        return r"[0-9]{1,9}(\.[0-9]{1,9})?"
    if option in _REDIS_SWITCHES or option == "ssl_check_hostname":
        return "(?i:true|false)"
    return "none|optional|required" if option == "ssl_cert_reqs" else ".+"


def mongodb_uri(name: str, value: str) -> str:
    """Return a MongoDB connection string: mongodb:// or mongodb+srv://."""
    scheme, authority, tail = _parts(name, value, ("mongodb", "mongodb+srv"), "mongodb+srv://cluster.example.net/")
    database, _, query = tail.partition("?")
    user, at, hosts = authority.rpartition("@")
    if user.count(":") > 1 or "[" in user or "]" in user or (at and user[:1] in ("", ":")):
        raise Unusable(f"{name}: {_ENCODE}")
    _check_mongodb_hosts(name, scheme, hosts)
    if re.search(r'[/ "$]|%2[0F24]', database[1:], re.IGNORECASE):
        raise Unusable(f"{name}: the database after the host must be a plain name, for example /jobs")
    _check_mongodb_options(name, scheme, hosts, query)
    return value


def _check_mongodb_hosts(name: str, scheme: str, hosts: str) -> None:
    if scheme == "mongodb+srv":
        if "," in hosts:
            raise Unusable(f"{name}: mongodb+srv:// accepts only one host name; use mongodb:// for several hosts")
        if re.search(r":[^]]*$", hosts):
            raise Unusable(f"{name}: mongodb+srv:// does not accept a port: remove it, or use mongodb://")
        check_host(name, hosts)
        if hosts.startswith("[") or is_ip_address(hosts):
            raise Unusable(f"{name}: mongodb+srv:// requires a host name; use mongodb:// for an IP address")
    else:
        for host in hosts.split(","):
            if not re.fullmatch(r"([A-Za-z0-9._-]|%2[Ff])+\.sock", host):
                check_host(name, host)


def _check_mongodb_options(name: str, scheme: str, hosts: str, query: str) -> None:
    found = dict(_options(name, query, _MONGODB_NUMBERS | _MONGODB_SWITCHES | _MONGODB_TEXTS, fold=True))
    for option, text in found.items():
        if (option in _MONGODB_NUMBERS and not re.fullmatch(r"[0-9]{1,9}", text)) or (
            option in _MONGODB_SWITCHES and text not in _BOOLEAN
        ):
            raise Unusable(f"{name}: the value of the option {option} is not valid")
    if scheme == "mongodb" and (of_srv := _OF_SRV & found.keys()):
        raise Unusable(f"{name}: the option {min(of_srv)} belongs to mongodb+srv://")
    if found.get("directconnection") == "true" and ("," in hosts or scheme == "mongodb+srv"):
        raise Unusable(f"{name}: directConnection=true requires exactly one host and mongodb://")


def _parts(name: str, value: str, schemes: tuple[str, ...], example: str) -> tuple[str, str, str]:
    """Return the scheme, the authority and the rest. A password that is not encoded cannot end one of them silently."""
    plain(name, value)
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes:
        choices = ", ".join(f"{each}://" for each in schemes[:-1])
        raise Unusable(f"{name} must start with {choices} or {schemes[-1]}://, for example {example}")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    broken = re.search(r"%(?![0-9A-Fa-f]{2})", rest) or not rest.isascii() or " " in rest
    if broken or "#" in rest or "@" in tail or authority.count("@") > 1:
        raise Unusable(f"{name}: {_ENCODE}")
    return scheme, authority, tail


def _options(name: str, query: str, known: frozenset[str], *, fold: bool = False) -> list[tuple[str, str]]:
    """Return the options of a URL. Messages do not repeat an unknown one: it can be part of a password."""
    found = []
    for count, part in enumerate(query.split("&") if query else (), 1):
        option, equals, text = part.partition("=")
        key = option.lower() if fold else option
        if not equals or not (text or key == "readpreferencetags") or "=" in text or ";" in text:
            raise Unusable(f"{name}: option {count} after the ? is not NAME=VALUE; separate options with &")
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Unusable(f"{name}: option {count} after the ? is unknown to its client{hint}")
        found.append((key, text))
    return found
