"""`.env`: accepted lines mean the same to a shell, Docker Compose, systemd, podman-compose and k8s/config.py.

The shell is the real /bin/sh. The others follow their documented rules, whose sources are in
launcher/domain/setting_rules/env_file.py.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from config_folder import ConfigError, known_variables, read
from launcher.domain.setting_rules.env_file import not_loaded, read_env

ROOT = Path(__file__).resolve().parents[3]
ATLAS = "mongodb+srv://user:p%40ss@cluster.example.net/jobs?retryWrites=true&w=majority&appName=slipway"
SECRET = "0123456789abcdef0123456789abcdef"
VALUES = {
    "ATLAS": ATLAS,
    "SPACES": " two  words ",
    "SHELL": "a;b|c&d>e<f(g)*?[h]{i}!j^k",
    "DOLLAR": "$HOME $(id) `id`",
    "HASH": "a #b#c",
    "DOUBLE": 'say "yes"',
    "BACKSLASH": r"a\nb\c",
    "TILDE": "~/x:~",
    "UNICODE": "schön ✓",
    "EMPTY": "",
    "EQUALS": "a=b==",
}
BARE = {"PLAIN": "redis://redis:6379/5", "NUMBER": "3", "NOTHING": "", "EMAIL": "a.b+c@example.com", "HALF": "50%"}
QUOTED = {"QUOTED": "two words & more"}
FILE = (
    "# A comment; 'with' $signs\n\n"
    + "".join(f"{name}='{value}'\n" for name, value in VALUES.items())
    + "".join(f"{name}={value}\n" for name, value in BARE.items())
    + "".join(f'  {name}="{value}" \n' for name, value in QUOTED.items())
)
EXPECTED = VALUES | BARE | QUOTED


def shell(text: str, directory: Path) -> dict[str, str]:
    """What `set -a; . ./.env; set +a` sets, in the real shell."""
    (directory / ".env").write_text(text)
    command = ["/bin/sh", "-c", "set -a; . ./.env; set +a; exec env -0"]
    done = subprocess.run(
        command, cwd=directory, env={"PATH": "/bin:/usr/bin", "HOME": "/home/me"}, capture_output=True, timeout=60
    )
    pairs = (entry.split("=", 1) for entry in done.stdout.decode().split("\0") if "=" in entry)
    return {name: value for name, value in pairs if name not in ("PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_")}


def compose(text: str, _: Path) -> dict[str, str]:
    """Compose's rules: single quotes are literal except \\'; double quotes and bare values are expanded."""
    found = {}
    for line in text.split("\n"):
        line = line.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, _equals, value = line.partition("=")
        value = value.strip()
        if value.startswith("'"):
            match = re.match(r"'((?:\\.|[^'\\])*)'", value)
            assert match, f"unterminated quotes in {name}"
            value = match[1].replace("\\'", "'")
        elif value.startswith('"'):
            match = re.match(r'"((?:\\.|[^"\\])*)"', value)
            assert match, f"unterminated quotes in {name}"
            value = expanded(match[1].replace('\\"', '"').replace("\\n", "\n"))
        else:
            value = expanded(re.split(r"\s#", value)[0].strip())
        found[name.strip()] = value
    return found


def expanded(value: str) -> str:
    return re.sub(r"\$\{\w+\}|\$\w+", "", value)


def podman_compose(text: str, directory: Path) -> dict[str, str]:
    """python-dotenv's rules: like Compose's, but backslashes and ${…} also work in single quotes."""
    found = compose(text, directory)
    return {name: re.sub(r"\$\{\w+\}", "", re.sub(r"\\([\\'])", r"\1", value)) for name, value in found.items()}


def systemd(text: str, _: Path) -> dict[str, str]:  # noqa: C901  # a state machine, as systemd's own is
    """systemd's rules: states of a line, quotes anywhere, a backslash escapes outside single quotes and joins lines."""
    found: dict[str, str] = {}
    name, value, length, state = "", "", 0, "name"
    for char in text + "\n":
        if state in ("escaped", "escaped in double"):
            value += char if state == "escaped" or char in '"\\`$' else f"\\{char}"
            value, length = value.removesuffix("\n"), len(value)
            state = "value" if state == "escaped" else "double"
        elif state == "comment escaped":
            state = "comment"
        elif state == "comment":
            state = {"\n": "name", "\\": "comment escaped"}.get(char, state)
        elif state in ("single", "double"):
            if char == ("'" if state == "single" else '"'):
                state = "value"
            elif char == "\\" and state == "double":
                state = "escaped in double"
            else:
                value += char
            length = len(value)
        elif char == "\n":
            if state == "value" and re.fullmatch(r"[A-Za-z_]\w*", name):
                found[name] = value[:length]
            name, value, length, state = "", "", 0, "name"
        elif state == "name":
            if not name and char in "#;":
                state = "comment"
            elif char == "=":
                name, state = name.rstrip(), "value"
            elif name or not char.isspace():
                name += char
        elif char in "'\"" and not value:
            state = "single" if char == "'" else "double"
        elif char == "\\":
            state = "escaped"
        elif value or not char.isspace():
            value += char
            length = len(value) if not char.isspace() else length
    return found


def folder(text: str, directory: Path) -> dict[str, str]:
    """The environment that k8s/config.py creates for runs."""
    (directory / "master-cv.md").write_text("# A person\n")
    (directory / ".env").write_text(f"{text}RUNNER_API_SECRET='{SECRET}'\n")
    objects = read(directory, frozenset()).objects
    import base64

    (pipeline,) = (each for each in objects if each["metadata"]["name"] == "slipway-pipeline")
    return {name: base64.b64decode(value).decode() for name, value in pipeline["data"].items()}


Reader = Callable[[str, Path], dict[str, str]]


@pytest.mark.parametrize("reader", [shell, compose, podman_compose, systemd], ids=lambda each: each.__name__)
def test_documented_format_is_read_the_same_everywhere(reader: Reader, tmp_path: Path) -> None:
    assert read_env(FILE).faults == []
    assert read_env(FILE).values == EXPECTED
    assert reader(FILE, tmp_path) == EXPECTED


def test_config_folder_reads_the_same_except_empty_values(tmp_path: Path) -> None:
    assert folder(FILE, tmp_path) == {name: value for name, value in EXPECTED.items() if value}


DIFFERENT = [
    f"MONGODB_URI={ATLAS}",
    "A=two words",
    "A=x;y",
    "A=x #y",
    "A='x' # why",
    'A="x" # why',
    "A=$HOME",
    'A="$HOME"',
    "A=`id`",
    "A=~/x",
    r"A=x\y",
    r"A='x\'",
    r"A='x\\y'",
    "A='${HOME}'",
    'A="x\\ny"',
    "export A=x",
    "A = x",
    "A='it''s'",
    "A='x'y",
    "A=x'y'",
    "# why \\\nA=x",
    ";A=x",
    "A='x",
    "A=(x)",
    "A=x|y",
    "A=<x>",
]


@pytest.mark.parametrize("line", DIFFERENT, ids=ascii)
def test_ambiguous_line_is_refused_with_its_number(line: str, tmp_path: Path) -> None:
    """At least two readers really read it differently, and the message repeats no value."""
    found = read_env(f"B='1'\n{line}\n")
    ((_, fault),) = found.faults
    assert fault.startswith(".env:2 ")
    assert "p%40ss" not in fault
    readings = []
    for reader in (shell, compose, podman_compose, systemd):
        try:
            readings.append(reader(f"B='1'\n{line}\n", tmp_path))
        except AssertionError:
            readings.append({})
    assert any(one != readings[0] for one in readings), readings
    with pytest.raises(ConfigError) as refused:
        folder(f"B='1'\n{line}\n", tmp_path)
    assert ".env:2 " in str(refused.value)


def test_example_uses_the_documented_format() -> None:
    example = (ROOT / ".env.example").read_text()
    assert read_env(example).faults == []
    all_set = re.sub(r"^# (?=[A-Z][A-Z0-9_]*=)", "", example, flags=re.MULTILINE)
    assert read_env(all_set).faults == []
    assert read_env(all_set).values.keys() == known_variables(example)


def test_setting_lost_by_the_shell_is_reported(tmp_path: Path) -> None:
    text = f"RUNNER_API_SECRET='{SECRET}'\nMONGODB_URI={ATLAS}\n"
    environ = shell(text, tmp_path)
    assert "MONGODB_URI" not in environ, "the shell drops it silently"
    assert list(not_loaded(text, environ)) == ["MONGODB_URI"]
    assert not_loaded(text, environ | {"MONGODB_URI": ATLAS}) == {}
    assert not_loaded(text, {"RUNNER_API_SECRET": "from elsewhere"}) == {}
