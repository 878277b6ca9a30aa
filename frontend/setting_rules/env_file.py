"""`.env` as everything that loads it reads it alike: a POSIX shell, Docker Compose, systemd and k8s/config.py.

    NAME='value'

In single quotes a value stands for itself, with all of them. It may hold anything but a single quote, a line break,
`${`, and a backslash at its end or twice in a row: percent-encode these in a URI, and make a secret without. A value of
letters, digits and _ . , : / @ % + = - needs no quotes. One in double quotes without $ ` \\ " and ! is the same to all.
What they read differently is refused:

| In `.env` | POSIX shell | Compose | systemd |
|---|---|---|---|
| `A=x&y`, `A=x;y`, `A=x y` | ends the value there, and runs the rest as a command | keeps it | keeps it |
| `A=x #y`, `A='x' # why` | a comment | a comment | part of the value |
| `A=$B`, `A="$B"`, `` A=`b` `` | expands it | expands `$B` | keeps it |
| `A=~/x` | the home folder | keeps it | keeps it |
| `A=x\\y` | `xy` | `x\\y` | `xy` |
| `A='x\\'` | keeps it | an escaped quote, the value goes on | keeps it |
| `export A=x` | sets A | sets A | no variable's name, skipped |
| `A = x` | runs a command A | sets A | sets A |
| `;A=x` | a syntax error | an error | a comment |
| `# why \\` | a comment of one line | a comment of one line | goes on in the next line |

Shell: https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html (2.2, 2.6, 2.9.1).
Compose: https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax.
systemd: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=.
podman-compose reads with python-dotenv, which expands `${B}` and halves `\\\\` in single quotes too:
https://github.com/theskumar/python-dotenv#file-format. `docker run --env-file` and `podman run --env-file` know no
quotes at all: what they load is refused at the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_LINE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)")
_BARE = re.compile(r"[A-Za-z0-9_.,:/@%+=-]*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"([^"$`\\!]*)"')
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NAMED = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_ODD = re.compile(r"\\\\|\\$|\$\{")
_ENCODE = (
    "it holds a single quote, ${ or a backslash: percent-encode them in a URI (%27, %24, %5C), or make another value"
)


class EnvFile(NamedTuple):
    """What a `.env` says: the variables that are read alike everywhere, and the other lines' faults by name."""

    values: dict[str, str]
    faults: list[tuple[str, str]]
    """The name that the line means to set, empty where it means none, and a sentence with its number."""


def read_env(text: str, where: str = ".env") -> EnvFile:
    """Read the text of a `.env`. No value is repeated in a fault."""
    values: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.strip(" \t")
        name, fault = _read_line(line, values)
        if fault:
            faults.append((name, f"{where}:{number} {fault}"))
    return EnvFile(values, faults)


def not_loaded(text: str, environ: Mapping[str, str], where: str = ".env") -> dict[str, str]:
    """Return the faults of a `.env` that this environment was loaded from that kept a variable from it, by variable.

    A shell runs what stands behind an unquoted & as a command of its own: the setting before it is then not set at all,
    and nothing says so.
    """
    read = read_env(text, where)
    loaded = any(value and environ.get(name) == value for name, value in read.values.items())
    return {name: fault for name, fault in read.faults if loaded and name and not environ.get(name)}


def _read_line(line: str, values: dict[str, str]) -> tuple[str, str]:
    """Take a line's value; return the name that it means and what is wrong with it."""
    if not line or line.startswith("#"):
        return "", "is a comment that ends with a backslash, which systemd joins with the next line" * line.endswith(
            "\\"
        )
    meant = _NAMED.match(line)
    name = meant[1] if meant else ""
    found = _LINE.fullmatch(line)
    if not found:
        reason = "starts with export, or has a space before =" if meant else "is not NAME='value'"
        return name, f"{reason}: write {name or 'NAME'}='…'"
    if name in values:
        return name, f"sets {name} a second time: keep one"
    plain = _value(found["value"])
    if plain is None:
        return name, _reason(name, found["value"])
    values[name] = plain
    return name, ""


def _value(text: str) -> str | None:
    """Return what everything reads in it; None where they differ."""
    for form in (_SINGLE, _DOUBLE, _BARE):
        if match := form.fullmatch(text):
            value = match[match.lastindex or 0]
            return None if _ODD.search(value) or _CONTROL.search(value) else value
    return None


def _reason(name: str, text: str) -> str:
    quote = text[:1] if text[:1] in ("'", '"') else ""
    if _CONTROL.search(text):
        return f"sets {name} with a control character in it: remove it"
    if quote and re.search(rf"{quote}\s*#", text[1:]):
        return f"has a comment behind {name}: put it on a line of its own, and write {name}='…'"
    if "'" in text[bool(quote) : len(text) - bool(quote)] or _ODD.search(text.strip("'")):
        return f"sets {name} to what cannot be written alike everywhere: {_ENCODE}"
    return f"sets {name} to what a shell, Compose and systemd read differently: write {name}='…' in single quotes"
