"""remote.sh with a real sshd: it runs the checkout's scripts on the right server only."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.runs import until

REMOTE = Path(__file__).resolve().parents[2] / "k8s/remote.sh"


class Vps:
    """An sshd on loopback with a helm that prints its arguments."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        for name in ("host", "other-host", "deploy"):
            key = str(directory / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=60)
        self.key = (directory / "deploy").read_text()
        (directory / "authorized_keys").write_text(f"restrict {(directory / 'deploy.pub').read_text()}")
        self.temporary = directory / "tmp"
        (directory / "bin").mkdir()
        self.temporary.mkdir()
        helm = directory / "bin/helm"
        helm.write_text('#!/bin/sh\nprintf "helm:"; printf " <%s>" "$@"; echo\n')
        helm.chmod(0o755)
        config = directory / "sshd_config"
        options = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": directory / "host",
            "AuthorizedKeysFile": directory / "authorized_keys",
            "PermitRootLogin": "prohibit-password",
            "SetEnv": f'"PATH={directory}/bin:/usr/bin:/bin" "TMPDIR={self.temporary}" '
            "NAMESPACE=elsewhere KUBECONFIG=/theirs",
            **dict.fromkeys(("UsePAM", "PasswordAuthentication", "StrictModes"), "no"),
            "PidFile": "none",
        }
        config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def known_hosts(self, directory: Path, name: str = "host") -> str:
        return f"[127.0.0.1]:{self.port} {(directory / f'{name}.pub').read_text()}"

    def call(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {"VPS_HOST": "127.0.0.1", "VPS_USER": getpass.getuser(), "VPS_SSH_KEY": self.key}
        own = {**os.environ, **variables, "VPS_PORT": str(self.port), **environment}
        return subprocess.run([REMOTE, *args], capture_output=True, text=True, env=own, timeout=60)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vps")


@pytest.fixture(scope="module")
def vps(programs: Path, directory: Path) -> Iterator[Vps]:
    server = Vps(directory)
    yield server
    server.process.terminate()
    server.process.wait(30)


def test_script_runs_on_the_server_and_leaves_no_files(vps: Vps, directory: Path) -> None:
    done = vps.call("rollback.sh", "--list", VPS_KNOWN_HOSTS=vps.known_hosts(directory))
    assert (done.returncode, done.stdout) == (0, "helm: <--namespace> <elsewhere> <history> <slipway>\n"), done.stderr
    assert list(vps.temporary.iterdir()) == []


def test_arguments_are_quoted(vps: Vps, directory: Path) -> None:
    done = vps.call("rollback.sh", "3; touch /tmp/$(id -u) 'x y'", VPS_KNOWN_HOSTS=vps.known_hosts(directory))
    assert done.returncode == 2
    assert "3; touch /tmp/$(id -u) 'x y' is not a revision" in done.stderr


def test_server_with_another_key_is_refused(vps: Vps, directory: Path) -> None:
    done = vps.call("rollback.sh", "--list", VPS_KNOWN_HOSTS=vps.known_hosts(directory, "other-host"))
    assert done.returncode != 0 and "helm:" not in done.stdout
    assert "Host key verification failed" in done.stderr


def test_missing_known_hosts_is_a_warning(vps: Vps) -> None:
    done = vps.call("rollback.sh", "--list", VPS_KNOWN_HOSTS="")
    assert done.returncode == 0 and "any host key is trusted" in done.stdout


def test_key_with_windows_line_endings_works(vps: Vps, directory: Path) -> None:
    mangled = vps.key.strip().replace("\n", "\r\n")
    done = vps.call("rollback.sh", "--list", VPS_SSH_KEY=mangled, VPS_KNOWN_HOSTS=vps.known_hosts(directory))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "environment", "message"),
    [
        (["rollback.sh"], {"VPS_SSH_KEY": ""}, "VPS_SSH_KEY is not set"),
        (["rollback.sh"], {"VPS_HOST": "-oProxyCommand=x"}, "VPS_HOST is not a valid host name"),
        (["rollback.sh"], {"VPS_USER": "root;id"}, "VPS_USER is not a valid user name"),
        (["uninstall.sh"], {}, "the script must be install.sh or rollback.sh"),
    ],
)
def test_invalid_input_is_rejected(vps: Vps, args: list[str], environment: dict[str, str], message: str) -> None:
    done = vps.call(*args, **environment)
    assert done.returncode != 0 and message in done.stderr
    assert vps.key.splitlines()[1] not in done.stdout + done.stderr
