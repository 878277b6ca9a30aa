"""The scripts choose the cluster explicitly, as k3s's kubectl has a default of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .machine import K8S, Machine

NOBODY = 65534


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.program("helm", f'echo "helm $* KUBECONFIG=$KUBECONFIG" >> {made.calls}')
    return made


@pytest.mark.parametrize("home", [True, False], ids=["the user deploy", "root"])
@pytest.mark.parametrize(
    "command",
    [
        ("config.py", "{config}"),
        ("rollback.sh", "--list"),
        ("rollback.sh",),
        ("resume.sh",),
        ("uninstall.sh", "--yes", "--keep-config"),
    ],
    ids=" ".join,
)
def test_every_call_uses_the_users_kubeconfig_or_else_that_of_k3s(
    machine: Machine, command: tuple[str, ...], home: bool
) -> None:
    used = machine.with_k3s(home)
    script, *args = command
    done = machine.run(script, *(arg.format(config=machine.config) for arg in args))
    assert "permission denied" not in done.stderr and done.returncode == 0, done.stderr
    calls = [line for line in machine.calls.read_text().splitlines() if line.startswith(("kubectl ", "helm "))]
    assert calls
    assert {line.rpartition(" KUBECONFIG=")[2] for line in calls} == {str(used)}


def test_fake_kubectl_fails_like_that_of_k3s(machine: Machine) -> None:
    machine.with_k3s(home=True)
    path = machine.root.parent / "bin/kubectl"
    done = subprocess.run([path, "get", "pods"], capture_output=True, text=True, env={"HOME": str(machine.root)})
    assert done.returncode == 1 and "permission denied" in done.stderr


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder with the script that every user can access."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(K8S / "kubeconfig.sh", folder)
        yield folder


def kubeconfig(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "BOOTSTRAP_ROOT": str(folder), **environ}
    user = {"user": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    command = [folder / "kubeconfig.sh"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, **user)  # type: ignore[call-overload,no-any-return]


def test_kubeconfig_variable_takes_precedence_and_none_is_an_error(readable: Path) -> None:
    assert kubeconfig(readable, KUBECONFIG="/mine").stdout == "/mine\n"
    none = kubeconfig(readable)
    assert (none.returncode, none.stdout) == (1, "")
    assert "no cluster configured; set KUBECONFIG" in none.stderr
    k3s = readable / "etc/rancher/k3s/k3s.yaml"
    k3s.parent.mkdir(parents=True)
    k3s.touch(0o600)
    if os.getuid() == 0:
        roots = kubeconfig(readable)
        assert roots.returncode == 1 and "is readable only by root; use sudo, or set KUBECONFIG" in roots.stderr
    home = readable / ".kube/config"
    home.parent.mkdir()
    home.write_text("apiVersion: v1\n")
    assert kubeconfig(readable).stdout == f"{home}\n"


def test_no_script_has_its_own_default() -> None:
    for path in (*K8S.glob("*.sh"), K8S / "config.py"):
        if path.name not in ("kubeconfig.sh", "bootstrap.sh", "k3s.sh", "k3s-settings.sh"):
            assert not re.search(r"k3s\.yaml|\.kube/config", path.read_text().replace("k8s/k3s.yaml", "")), path
