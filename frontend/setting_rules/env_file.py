"""Parses the subset of `.env` that a POSIX shell, Docker Compose, systemd and k8s/config.py all read the same way.

    NAME='value'

All of them take a value in single quotes literally. It can contain anything except a single quote, a line break, `${`,
and a backslash at its end or two in a row: percent-encode these in a URI, and generate a secret without them. A value
of letters, digits and _ . , : / @ % + = - needs no quotes. A value in double quotes must not contain $ ` \\ " or !.
Lines that they read differently are refused:

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
https://github.com/theskumar/python-dotenv#file-format. `docker run --env-file` and `podman run --env-file` do not
support quotes: the values that they load are refused at the start.
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
    "it contains a single quote, ${ or a backslash: percent-encode them in a URI (%27, %24, %5C), or use another value"
)


class EnvFile(NamedTuple):
    """The content of a `.env`: the variables that are read the same everywhere, and errors for the other lines."""

    values: dict[str, str]
    faults: list[tuple[str, str]]
    """The variable that the line was meant to set, or "", and a sentence with the line's number."""


def read_env(text: str, where: str = ".env") -> EnvFile:
    """Parse the text of a `.env`. Errors do not repeat values."""
    values: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.strip(" \t")
        name, fault = _read_line(line, values)
        if fault:
            faults.append((name, f"{where}:{number} {fault}"))
    return EnvFile(values, faults)


def not_loaded(text: str, environ: Mapping[str, str], where: str = ".env") -> dict[str, str]:
    """Return the errors in a `.env` because of which this environment, loaded from it, lacks a variable; by variable.

    A shell runs the text after an unquoted & as a separate command and then silently does not set the variable.
    """
    read = read_env(text, where)
    loaded = any(value and environ.get(name) == value for name, value in read.values.items())
    return {name: fault for name, fault in read.faults if loaded and name and not environ.get(name)}


def _read_line(line: str, values: dict[str, str]) -> tuple[str, str]:
    """Add a line's value; return the variable that it was meant to set and what is wrong with it."""
    if not line or line.startswith("#"):
        joined = line.endswith("\\")
        return "", "is a comment that ends with a backslash, which systemd joins with the next line" if joined else ""
    meant = _NAMED.match(line)
    name = meant[1] if meant else ""
    found = _LINE.fullmatch(line)
    if not found:
        reason = "starts with export, or has a space before =" if meant else "is not NAME='value'"
        return name, f"{reason}: write {name or 'NAME'}='…'"
    if name in values:
        return name, f"sets {name} again: remove one of the lines"
    plain = _value(found["value"])
    if plain is None:
        return name, _reason(name, found["value"])
    values[name] = plain
    return name, ""


def _value(text: str) -> str | None:
    """Return the value that all of them read; None if they differ."""
    for form in (_SINGLE, _DOUBLE, _BARE):
        if match := form.fullmatch(text):
            value = match[match.lastindex or 0]
            return None if _ODD.search(value) or _CONTROL.search(value) else value
    return None


def _reason(name: str, text: str) -> str:
    quote = text[:1] if text[:1] in ("'", '"') else ""
    if _CONTROL.search(text):
        return f"sets {name} to a value with a control character: remove it"
    if quote and re.search(rf"{quote}\s*#", text[1:]):
        return f"has a comment after {name}: move it to its own line, and write {name}='…'"
    if "'" in text[bool(quote) : len(text) - bool(quote)] or _ODD.search(text.strip("'")):
        return f"sets {name} to a value that cannot be written the same for all: {_ENCODE}"
    return (
        f"sets {name} to a value that a shell, Compose and systemd read differently: write {name}='…' in single quotes"
    )
