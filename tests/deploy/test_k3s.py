"""bootstrap.sh, k3s.sh and install.sh, run whole on a fake server whose k3s behaves as read in its source."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .fresh_server import FAKE, SETTINGS, SUFFIX, VERSION, FreshServer, checksum
from .machine import K8S

pytestmark = pytest.mark.skipif(not SUFFIX, reason="k3s is pinned for x86_64 and aarch64")


@pytest.fixture
def fresh(tmp_path: Path) -> FreshServer:
    return FreshServer(tmp_path)


@pytest.fixture
def installed(fresh: FreshServer) -> FreshServer:
    """A fake server with k3s and helm."""
    fresh.successful("k3s.sh")
    fresh.program("helm", f'exec {sys.executable} {FAKE} helm v3 helm "$@"')
    fresh.took_place()
    return fresh


def in_order(calls: list[str], expected: list[str]) -> None:
    """Check that calls matching these expressions came in this order; others may come between."""
    rest = iter(calls)
    for each in expected:
        assert any(re.search(each, call) for call in rest), f"{each} is missing or too early in\n" + "\n".join(calls)


def test_bootstrap_sets_up_a_fresh_server_in_this_order(fresh: FreshServer) -> None:
    fresh.options(kinds=2, traefik=2)
    done = fresh.bootstrap()
    assert done.returncode == 0 and "done: https://runner.example.com" in done.stdout, done.stdout + done.stderr
    calls = fresh.took_place()
    in_order(
        calls,
        [
            r"^apt-get update",
            r"^apt-get install .* ca-certificates curl python3 ufw$",
            r"^ufw allow 2222/tcp",
            r"^ufw allow 22/tcp",
            r"^ufw allow 443/tcp",
            r"^ufw allow from 10\.42\.0\.0/16",
            r"^ufw default deny incoming",
            r"^ufw --force enable",
            r"^curl \S+/k3s(-arm64)?$",
            r"^curl \S+/install\.sh$",
            r"^installer EXEC=server SKIP_DOWNLOAD=true SKIP_START=true",
            r"^systemctl restart k3s",
            r"^kubectl get node srv123456\.example\.com ",
            r"^curl https://get\.helm\.sh/",
            r"^kubectl .*create namespace slipway",
            r"^kubectl apply --filename \S+/traefik\.yaml",
            r"^kubectl apply --filename \S+/traefik\.yaml",
            r"^kubectl apply --filename \S+/traefik\.yaml",
            r"^kubectl --namespace kube-system get deployment traefik",
            r"^kubectl --namespace kube-system rollout status deployment/traefik",
            r"^helm .*upgrade --install .*values-4gb\.yaml .*--dry-run=server",
            r"^kubectl .*create --filename=-",
            r"^helm .*upgrade --install .*--wait",
            r"^helm .*test slipway",
            r"^curl https://runner\.example\.com/health",
        ],
    )
    k3s = f"{fresh.root}/etc/rancher/k3s/k3s.yaml"
    assert {call.rpartition("KUBECONFIG=")[2] for call in calls if call.startswith(("kubectl ", "helm "))} == {k3s}


def test_bootstrap_again_changes_nothing(fresh: FreshServer) -> None:
    assert fresh.bootstrap().returncode == 0
    fresh.took_place()
    before = {path: path.stat().st_mtime_ns for path in fresh.root.rglob("*") if "systemd" not in str(path)}
    done = fresh.bootstrap()
    assert done.returncode == 0, done.stdout + done.stderr
    calls = fresh.took_place()
    assert not [call for call in calls if call.startswith("systemctl restart")]
    assert not [call for call in calls if re.match(r"curl \S+(/k3s(-arm64)?|\.tar\.gz)$", call)]
    assert {path: path.stat().st_mtime_ns for path in fresh.root.rglob("*") if "systemd" not in str(path)} == before


def test_bootstrap_uses_the_cluster_that_it_installed(fresh: FreshServer) -> None:
    other = fresh.directory / "other-cluster"
    other.write_text("apiVersion: v1\n")
    done = fresh.bootstrap(KUBECONFIG=str(other))
    assert done.returncode == 0, done.stderr
    assert str(other) not in "\n".join(fresh.took_place())


@pytest.mark.parametrize("controllers", ["cpu io pids", None], ids=["no memory", "cgroup v1"])
def test_server_without_the_needed_cgroups_is_rejected_at_once(fresh: FreshServer, controllers: str | None) -> None:
    path = fresh.root / "sys/fs/cgroup/cgroup.controllers"
    path.unlink()
    if controllers:
        path.write_text(controllers)
    done = fresh.bootstrap()
    assert done.returncode == 1 and "the cgroup controller" in done.stderr
    assert not fresh.took_place()


def test_server_without_ipv4_is_rejected_at_once(fresh: FreshServer) -> None:
    (fresh.root / "proc/net/route").write_text("Iface Destination Gateway\neth0 0000000A 00000000\n")
    done = fresh.bootstrap()
    assert done.returncode == 1 and "no IPv4 route" in done.stderr
    assert not fresh.took_place()


def test_node_keeps_its_name_when_the_host_name_changes(fresh: FreshServer) -> None:
    fresh.successful("k3s.sh")
    assert fresh.settings["node-name"] == "srv123456.example.com"
    assert fresh.settings["write-kubeconfig-mode"] == "0600"
    fresh.rename("renamed")
    fresh.successful("k3s.sh")
    assert fresh.settings["node-name"] == "srv123456.example.com"
    assert list(fresh.server["nodes"]) == ["srv123456.example.com"]


def test_node_of_an_earlier_install_without_a_pinned_name_keeps_its_name(installed: FreshServer) -> None:
    (installed.root / SETTINGS).unlink()  # as before names were pinned
    installed.rename("renamed")
    installed.successful("k3s.sh")
    assert list(installed.server["nodes"]) == ["srv123456.example.com"]


@pytest.mark.parametrize("file", ["config.yaml", "config.yaml.d/10-mine.yml", "config.yaml.d/zz-mine.yaml"])
def test_own_node_name_is_kept(fresh: FreshServer, file: str) -> None:
    path = fresh.root / "etc/rancher/k3s" / file
    path.parent.mkdir(parents=True)
    path.write_text("node-name: 'mine' # of another server\n")
    fresh.successful("k3s.sh")
    assert fresh.settings["node-name"] == "mine"
    assert list(fresh.server["nodes"]) == ["mine"]


@pytest.mark.parametrize("name", ["under_score", "x" * 64])
def test_host_name_that_no_node_can_have_is_rejected_before_anything_changes(fresh: FreshServer, name: str) -> None:
    fresh.rename(name)
    done = fresh.run("k3s.sh")
    assert done.returncode == 1 and "cannot be the name of a node" in done.stderr
    assert not fresh.took_place()


@pytest.mark.parametrize(("disk_gib", "pods"), [(8, 20), (40, 81), (100, 204), (2000, 1000)])
def test_logs_of_finished_pods_fill_at_most_a_fifth_of_the_disk(fresh: FreshServer, disk_gib: int, pods: int) -> None:
    fresh.options(disk_gib=disk_gib)
    settings = yaml.safe_load(fresh.successful("k3s-settings.sh"))
    assert settings["kube-controller-manager-arg+"] == [f"terminated-pod-gc-threshold={pods}"]
    kubelet = dict(each.split("=", 1) for each in settings["kubelet-arg+"])
    size, files = int(kubelet["container-log-max-size"].removesuffix("Mi")), int(kubelet["container-log-max-files"])
    assert size * files == 100
    if pods > 20:  # the least that the operator may have left to read
        assert pods * size * files <= disk_gib * 1024 / 5


def test_kubelet_evicts_at_all_of_kubernetes_thresholds(fresh: FreshServer) -> None:
    kubelet = dict(each.split("=", 1) for each in yaml.safe_load((K8S / "k3s.yaml").read_text())["kubelet-arg+"])
    signals = {each.split("<")[0] for each in kubelet["eviction-hard"].split(",")}
    inodes = {f"{each}.{what}" for each in ("nodefs", "imagefs") for what in ("available", "inodesFree")}
    assert signals == {"memory.available", *inodes}


def test_secrets_are_encrypted_unless_the_cluster_was_created_without(fresh: FreshServer) -> None:
    assert yaml.safe_load(fresh.successful("k3s-settings.sh"))["secrets-encryption"] is True
    (fresh.root / "var/lib/rancher/k3s/server/db").mkdir(parents=True)
    output = fresh.successful("k3s.sh")
    assert "secrets-encryption" not in fresh.settings and "created without encryption" in output
    encrypted = fresh.root / "var/lib/rancher/k3s/server/cred/encryption-config.json"
    encrypted.write_text("{}")
    fresh.successful("k3s.sh")
    assert fresh.settings["secrets-encryption"] is True


def test_own_settings_stay_and_lists_are_joined(fresh: FreshServer) -> None:
    own = fresh.root / "etc/rancher/k3s/config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("disable: [metrics-server]\nkubelet-arg: [max-pods=50]\n")
    fresh.successful("k3s.sh")
    assert fresh.server["config"]["disable"] == ["metrics-server"]
    assert {"max-pods=50", "container-log-max-files=2"} <= set(fresh.server["config"]["kubelet-arg"])


def test_settings_of_an_earlier_version_are_replaced(fresh: FreshServer) -> None:
    old = fresh.root / "etc/rancher/k3s/config.yaml"
    old.parent.mkdir(parents=True)
    first = "# k3s's configuration on the server; bootstrap.sh copies it to /etc/rancher/k3s/config.yaml.\n"
    old.write_text(f"{first}kubelet-arg: [container-log-max-files=3]\n")
    fresh.successful("k3s.sh")
    assert not old.exists()
    assert "container-log-max-files=3" not in fresh.server["config"]["kubelet-arg"]


def test_settings_are_readable_for_the_kubectl_of_every_user(fresh: FreshServer) -> None:
    command = ["sh", "-c", f'umask 077; exec "{fresh.scripts}/k3s.sh"']
    subprocess.run(command, env=fresh.environment, check=True, capture_output=True, timeout=60)
    path = fresh.root / SETTINGS
    assert path.stat().st_mode & 0o777 == 0o644
    assert all(folder.stat().st_mode & 0o777 == 0o755 for folder in path.parents[:3])


def test_changed_settings_restart_k3s_even_if_an_earlier_run_was_interrupted(installed: FreshServer) -> None:
    (installed.root / SETTINGS).write_text("node-name: mine\n")  # written, but k3s was not restarted
    later = installed.server["since"] + 5
    os.utime(installed.root / SETTINGS, (later, later))
    installed.successful("k3s.sh")
    assert "systemctl restart k3s" in installed.took_place()
    installed.successful("k3s.sh")
    assert "systemctl restart k3s" not in installed.took_place()


def test_newer_version_is_installed_and_restarts_k3s_once(installed: FreshServer) -> None:
    minor = int(VERSION.split(".")[1])
    newer = f"v1.{minor + 1}.0+k3s1"
    output = installed.successful("k3s.sh", "--version", newer, "--sha256", checksum(f"{newer}/k3s"))
    assert f"k3s {newer} is ready" in output
    assert installed.took_place().count("systemctl restart k3s") == 1
    assert installed.server["nodes"] == {"srv123456.example.com": newer}
    output = installed.successful("k3s.sh")
    assert f"k3s {newer} is newer than {VERSION}, so it stays" in output and f"k3s {newer} is ready" in output
    assert installed.server["nodes"] == {"srv123456.example.com": newer}


@pytest.mark.parametrize(
    ("minors", "message"), [(2, "in one step; first upgrade to v1."), (-1, "cannot be downgraded")]
)
def test_upgrade_that_kubernetes_does_not_support_is_refused(installed: FreshServer, minors: int, message: str) -> None:
    other = f"v1.{int(VERSION.split('.')[1]) + minors}.0+k3s1"
    done = installed.run("k3s.sh", "--version", other, "--sha256", "0" * 64)
    assert done.returncode == 1 and message in done.stderr
    assert not installed.took_place()


def test_nothing_changes_if_the_installer_cannot_be_downloaded(fresh: FreshServer) -> None:
    fresh.options(unreachable=["/install.sh"])
    done = fresh.run("k3s.sh")
    assert done.returncode == 1 and "could not download" in done.stderr
    assert not (fresh.root / "usr").exists() and not (fresh.root / "etc/rancher").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("k3s.service", "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--datastore-endpoint=x' \\\n\n"),
        ("k3s.service.env", "K3S_TOKEN='x'\n"),
    ],
)
def test_k3s_that_was_installed_with_its_own_options_is_left_alone(fresh: FreshServer, file: str, content: str) -> None:
    path = fresh.root / "etc/systemd/system" / file
    path.write_text(content)
    done = fresh.run("k3s.sh")
    assert done.returncode == 1 and "was installed with its own options" in done.stderr
    assert path.read_text() == content and not fresh.took_place()


def test_variables_of_the_shell_do_not_become_settings_of_k3s(fresh: FreshServer) -> None:
    fresh.successful("k3s.sh", K3S_URL="https://10.0.0.1:6443", K3S_TOKEN="x", INSTALL_K3S_SKIP_ENABLE="true")
    assert (fresh.root / "etc/systemd/system/k3s.service.env").read_text() == ""


def test_k3s_that_does_not_start_is_reported(fresh: FreshServer) -> None:
    fresh.options(does_not_start=True)
    done = fresh.run("k3s.sh")
    assert done.returncode == 1 and "k3s does not start; see journalctl --unit k3s" in done.stderr


def test_install_waits_for_the_kinds_of_k3s_and_for_its_traefik(installed: FreshServer) -> None:
    installed.options(kinds=2, traefik=1)
    done = installed.install()
    assert done.returncode == 0, done.stdout + done.stderr
    calls = installed.took_place()
    assert sum("traefik.yaml" in call for call in calls) == 3
    assert sum("get crd middlewares.traefik.io" in call for call in calls) == 2
    traefik = max(n for n, call in enumerate(calls) if "rollout status deployment/traefik" in call)
    assert traefik < min(n for n, call in enumerate(calls) if call.startswith("helm") and "upgrade" in call)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": 99}, "k3s has not created the kind HelmChartConfig. Is disable-helm-controller set"),
        ({"traefik": 99}, "k3s has not installed Traefik with k8s/traefik.yaml; missing: its kinds"),
        ({"can-i": ""}, "does not say whether this account can configure Traefik"),
    ],
)
def test_install_says_what_k3s_lacks_and_changes_nothing(
    installed: FreshServer, options: dict[str, Any], message: str
) -> None:
    installed.options(**options)
    done = installed.install(TRAEFIK_SECONDS="0")
    assert done.returncode == 1 and message in done.stderr, done.stdout + done.stderr
    assert "upgrade --install" not in "\n".join(installed.took_place())


def test_account_for_deployments_leaves_traefik_unchanged(installed: FreshServer) -> None:
    installed.options(**{"can-i": "no"})
    done = installed.install()
    assert done.returncode == 0 and "leaving Traefik unchanged: only an administrator" in done.stdout, done.stderr
    assert "traefik.yaml" not in "\n".join(installed.took_place())


def test_k3s_gives_up_its_traefik_and_takes_it_back(fresh: FreshServer) -> None:
    written = fresh.root / "etc/rancher/k3s/config.yaml.d/edge.yaml"
    fresh.program("docker", "echo 172.18.0.0/16")

    def calls(*args: str) -> list[str]:
        done = fresh.bootstrap(*args, EDGE_FILE=str(fresh.directory / "traefik.yaml"))
        assert done.returncode == 0, done.stderr
        return fresh.took_place()

    calls("--edge", "existing", "--edge-network", "172.18.0.0/16")
    assert fresh.server["config"]["disable"] == ["traefik", "servicelb"]
    assert "systemctl restart k3s" not in calls()
    assert written.exists(), "a later run keeps the choice"
    assert "systemctl restart k3s" in calls("--edge", "k3s")
    assert not written.exists() and "disable" not in fresh.server["config"]
