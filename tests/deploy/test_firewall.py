"""The real ufw with the rules of bootstrap.sh, in a network namespace: who can reach which port of a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .machine import Machine

PORTS = (22, 80, 443, 2222, 6443, 8080)
SOURCES = {"internet": "192.0.2.2", "pod": "10.42.0.9"}
NAMESPACE = """
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs tmpfs /run
for path in /etc/ufw /etc/default/ufw; do
  cp -a "$path" "$FOLDER/" && mount --bind "$FOLDER/${path##*/}" "$path"
  mv "$FOLDER/${path##*/}" "$FOLDER/${path//\\//-}"
done
ip netns add outside
ip link set lo up
ip link add eth0 type veth peer name eth0 netns outside
ip addr add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip -n outside addr add 192.0.2.2/24 dev eth0
ip -n outside addr add 10.42.0.9/32 dev eth0
ip -n outside link set eth0 up
ip route add 10.42.0.9/32 dev eth0
exec "$PYTHON" -c "$SERVER"
"""
SERVER = """
import json, os, socket, subprocess, sys
listeners = [socket.create_server(("0.0.0.0", port)) for port in json.loads(os.environ["PORTS"])]
for command in json.loads(os.environ["COMMANDS"]):
    subprocess.run(command, check=True, stdout=sys.stderr)
for ping in ("192.0.2.2", "10.42.0.9"):  # fills the tables of neighbours, so that a lost packet means a rule
    subprocess.run(["ip", "netns", "exec", "outside", "ping", "-c1", "-W2", "-I", ping, "192.0.2.1"], stdout=sys.stderr)
sys.exit(subprocess.run(["ip", "netns", "exec", "outside", sys.executable, "-c", os.environ["CLIENT"]]).returncode)
"""
CLIENT = """
import json, os, socket
def reaches(source, port):
    try:
        socket.create_connection(("192.0.2.1", port), timeout=0.4, source_address=(source, 0)).close()
    except OSError:
        return False
    return True
sources, ports = json.loads(os.environ["SOURCES"]), json.loads(os.environ["PORTS"])
print(json.dumps({name: [port for port in ports if reaches(source, port)] for name, source in sources.items()}))
"""


def reachable(directory: Path, commands: list[list[str]]) -> dict[str, list[int]]:
    """Return the ports that each source reaches after these commands."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    assert shutil.which("ufw"), "tests/support/deploy/install installs it"
    variables = {
        "FOLDER": str(directory),
        "PYTHON": sys.executable,
        "SERVER": SERVER,
        "CLIENT": CLIENT,
        "COMMANDS": json.dumps(commands),
        "PORTS": json.dumps(PORTS),
        "SOURCES": json.dumps(SOURCES),
    }
    command = ["unshare", "--net", "--mount", "--fork", "bash", "-c", NAMESPACE]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


def rules(machine: Machine) -> list[list[str]]:
    """Return the calls of ufw that bootstrap.sh makes."""
    machine.program("sshd", "echo 'port 2222'")
    lines = [line.strip() for line in machine.bootstrap("--dry-run").stdout.splitlines() if line.startswith("  ufw ")]
    parts = [line.partition(" comment ") for line in lines]
    return [[*call.split(), *(["comment", comment] if comment else [])] for call, _, comment in parts]


def test_only_ssh_and_the_web_are_open_to_the_internet_and_everything_to_pods(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "ufw").mkdir()
    calls = rules(Machine(tmp_path / "machine"))
    assert reachable(tmp_path / "ufw", calls) == {"internet": [22, 80, 443, 2222], "pod": list(PORTS)}


def test_ssh_stays_open_if_setting_up_an_active_firewall_is_interrupted(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "machine").mkdir()
    calls = rules(Machine(tmp_path / "machine"))
    active = [["ufw", "default", "allow", "incoming"], ["ufw", "--force", "enable"]]
    for n in (1, 2, 3, len(calls) - 1):
        (folder := tmp_path / str(n)).mkdir()
        assert {22, 2222} <= set(reachable(folder, [*active, *calls[:n]])["internet"])
