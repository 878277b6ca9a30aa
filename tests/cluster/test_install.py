"""The scripts of k8s/ on the cluster: install and configure, deploy, drain, uninstall. See also `test_drills`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from cluster.cluster import TESTS_IMAGE, Cluster
from cluster.runs import until
from launcher.cli.findings import Finding
from launcher.cli.installation_checks import examine_installation
from launching.scripts import SCRIPTS, Server

PIPELINES: dict[str, dict[str, Any]] = {
    "show-config": {"command": ["sh", "-c", "cat /app/master-cv.md /app/credentials/*; env | sort"]},
    "held": {"command": ["sh", "-c", "echo up; while [ ! -e $APPLICATIONS_DIR/go ]; do sleep 0.1; done; echo done"]},
}


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(cluster, tmp_path_factory.mktemp("server"))
    values = server.directory / "pipelines.yaml"
    pipelines = {name: {"image": TESTS_IMAGE, "artifacts": {}, **each} for name, each in PIPELINES.items()}
    values.write_text(json.dumps({"pipelines": pipelines}))
    try:
        output = server.install("--config", str(server.config), "--values", str(values), verify=True)
        assert "revision 1 is healthy" in output
        assert "verifying" in output and "run to Redis" in output
        yield server
    finally:
        server.remove()


def run_configuration(server: Server) -> str:
    """Return the configuration that a run prints."""
    return server.slipway("run", "1", "--pipeline", "show-config", "--follow")


def test_runs_get_cv_credentials_and_their_variables_but_not_the_secret(server: Server) -> None:
    log = run_configuration(server)
    assert (server.config / "master-cv.md").read_text().splitlines()[0] in log
    assert '{"made": "for a test"}' in log
    assert "FIRECRAWL_API_URL=http://firecrawl.example" in log
    assert "RUNNER_API_SECRET" not in log and server.secret not in log
    labels = server.json("get", "namespace", server.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_runs_cannot_reach_services_on_the_servers_own_address(server: Server) -> None:
    (node,) = server.cluster.json("get", "nodes")["items"]
    own = {each["address"] for each in node["status"]["addresses"] if each["type"] != "Hostname"}
    rules = server.json("get", "networkpolicy", "slipway-runs")["spec"]["egress"]
    blocks = [each["ipBlock"] for rule in rules for each in rule.get("to", ()) if "ipBlock" in each]
    assert blocks and all({f"{address}/32" for address in own} <= set(block["except"]) for block in blocks)


def verified(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """Return what `slipway doctor --cluster` finds about the installation, by check."""
    for name, value in {**server.environment, "KUBE_NAMESPACE": server.namespace}.items():
        monkeypatch.setenv(name, value)
    found = examine_installation()
    assert all(each.do or each.state in ("ok", "skip") for each in found)
    return {each.check: each for each in found}


def test_verification_shows_what_runs_can_reach_and_pull_and_leaves_nothing_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verified(server, monkeypatch)
    isolated = "ok" if server.cluster.enforces_policies else "fail"
    services = {f"run to {name}" for name in ("Redis", "launcher", "Kubernetes API", "node")}
    assert {found[name].state for name in (*services, "network policies")} == {isolated}, found
    assert {found[name].state for name in ("run to DNS", "API server's clock")} == {"ok"}
    images = {name: each for name, each in found.items() if name.startswith("image of")}
    assert "image of launcher" in images and any("pipeline held" in name for name in images)
    for each in images.values():  # no registry has the tests' images
        assert each.state == "warn" and "is on the node, but cannot be pulled" in each.found
    assert "slipway-probe" not in server.slipway("ps", "--json"), "a probe is not a run"
    assert server.kubectl("get", "jobs", "--selector=slipway.dev/probe", "--output=name") == ""


def test_verification_warns_if_runs_can_reach_everything(server: Server) -> None:
    policies = server.json("get", "networkpolicies")
    for each in policies["items"]:
        del each["metadata"]["resourceVersion"], each["metadata"]["uid"]
    server.kubectl("delete", "networkpolicies", "--all")
    try:
        output = server.run("verify.py")  # a warning, no failure
    finally:
        server.kubectl("create", "--filename=-", input=json.dumps(policies))
    assert "fail  network policies: not installed" in output and "WARNING: runs are not isolated" in output
    for name in ("Redis", "launcher", "Kubernetes API", "node"):
        assert f"fail  run to {name}: open: " in output
    assert ":10250" in output and ":6443" in output


def test_next_run_uses_a_changed_cv_and_an_upgrade_keeps_it(server: Server) -> None:
    (server.config / "master-cv.md").write_text("# Another person\n")
    assert "changed slipway-master-cv" in server.run("config.py", str(server.config))
    assert "# Another person" in run_configuration(server)
    before = server.versions()
    server.install()
    assert server.versions() == before
    assert "# Another person" in run_configuration(server)


def test_repeated_install_changes_nothing(server: Server) -> None:
    before, pods = server.versions(), services(server)
    assert "config: no changes" in server.install("--config", str(server.config))
    assert (server.versions(), services(server)) == (before, pods)


def test_install_with_an_image_that_cannot_be_pulled_changes_nothing(server: Server) -> None:
    before = server.json("get", "deployment", "slipway-launcher")["metadata"]["generation"]
    output = server.run("install.sh", "--image-tag", "never-pushed", fails=True)
    assert "localhost/slipway:never-pushed" in output and "nothing was changed" in output
    assert server.json("get", "deployment", "slipway-launcher")["metadata"]["generation"] == before
    assert "slipway-pull" not in server.kubectl("get", "pods")


def test_install_recovers_from_an_interrupted_upgrade(server: Server) -> None:
    command = ["helm", "--namespace", server.namespace, "upgrade", "slipway", str(SCRIPTS.parent / "charts/slipway")]
    command += ["--reuse-values", "--set", "image.tag=never-pushed", "--wait", "--timeout=300s"]
    with subprocess.Popen(command, env=server.environment, stdout=subprocess.DEVNULL) as helm:

        def pending() -> bool:
            secrets = server.json("get", "secrets", "--selector=owner=helm,status=pending-upgrade")["items"]
            return bool(secrets)

        until(pending)
        helm.kill()
    assert "an upgrade was interrupted" in server.install()
    assert server.slipway("ps")


FORMER_DEPLOY_ACCOUNT = """
{apiVersion: v1, kind: ServiceAccount, metadata: {name: slipway-deploy}}
---
apiVersion: v1
kind: Secret
metadata: {name: slipway-deploy, annotations: {kubernetes.io/service-account.name: slipway-deploy}}
type: kubernetes.io/service-account-token
"""


@pytest.fixture(scope="module")
def deploy_kubeconfig(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of `slipway-deploy`, on a server where the account was in the namespace itself before."""
    server.kubectl("apply", "--filename=-", input=FORMER_DEPLOY_ACCOUNT)
    kubeconfig = tmp_path_factory.mktemp("deploy") / "kubeconfig"
    try:
        kubeconfig.write_text(server.run("deploy-account.sh"))
        yield kubeconfig
    finally:
        own = f"slipway-deploy-{server.namespace}"
        server.cluster.kubectl("delete", "clusterrole,clusterrolebinding", own, "--ignore-not-found")
        server.cluster.kubectl("delete", "namespace", f"{server.namespace}-deploy", "--wait=false")


def test_deploy_token_is_not_in_the_namespace_and_can_be_renewed(server: Server, deploy_kubeconfig: Path) -> None:
    names = {each["metadata"]["name"] for each in server.json("get", "secrets,serviceaccounts")["items"]}
    assert "slipway-deploy" not in names
    before = deploy_kubeconfig.with_name("before")
    before.write_text(deploy_kubeconfig.read_text())
    assert server.run("deploy-account.sh") == before.read_text()
    deploy_kubeconfig.write_text(server.run("deploy-account.sh", "--renew"))
    until(lambda: "Unauthorized" in refusal(server, before, "get", "pods"))
    assert refusal(server, deploy_kubeconfig, "get", "pods") == ""


def test_deploy_account_can_upgrade_and_roll_back_only_in_its_namespace(
    server: Server, deploy_kubeconfig: Path
) -> None:
    administrator, server.kubeconfig = server.kubeconfig, deploy_kubeconfig
    try:
        assert "is healthy" in server.install("--set", "launcher.rateLimitPerMinute=5000")
        assert "Rollback was a success" in server.run("rollback.sh")
        for refused in (
            ["get", "secrets", "--namespace=kube-system"],
            ["get", "secrets", f"--namespace={server.namespace}-deploy"],
            ["delete", "validatingadmissionpolicy", f"slipway-runs-{server.namespace}"],
            ["create", "namespace", "mine"],
            ["get", "nodes"],
        ):
            assert "Forbidden" in refusal(server, deploy_kubeconfig, *refused), refused
    finally:
        server.kubeconfig = administrator


def refusal(server: Server, kubeconfig: Path, *command: str) -> str:
    """Return what kubectl prints about a command that fails with this kubeconfig."""
    environment = {**server.environment, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(["kubectl", *command], env=environment, capture_output=True, text=True, timeout=60)
    return done.stderr if done.returncode else ""


def test_drain_waits_for_active_runs_and_holds_queued_ones_until_resume(server: Server) -> None:
    first = json.loads(server.slipway("run", "first", "--pipeline", "held", "--json"))["run_id"]
    until(lambda: json.loads(server.slipway("status", first, "--json"))["status"] == "running")
    # SIGINT is ignored when the tests run in the background, and a shell cannot trap a signal ignored at its start.
    interruptible = ["env", "--default-signal=INT", *server.command("drain.sh")]
    with subprocess.Popen(
        interruptible, env=server.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as drain:
        lines = output_of(drain)
        until(lambda: first in lines.readline())
        second = json.loads(server.slipway("run", "second", "--pipeline", "held", "--json"))["run_id"]
        os.killpg(drain.pid, signal.SIGINT)  # as a terminal does: to the script and its child processes
        assert "The queue stays paused" in lines.read()
        assert drain.wait(30) == 130
    with subprocess.Popen(
        server.command("drain.sh"), env=server.environment, stdout=subprocess.PIPE, text=True
    ) as drain:
        lines = output_of(drain)
        until(lambda: first in lines.readline())
        finish_held_run(server, first)
        assert "no run is active" in lines.read()
        assert drain.wait(60) == 0
    assert json.loads(server.slipway("status", second, "--json"))["status"] == "queued"
    server.run("resume.sh")
    finish_held_run(server, second)
    until(lambda: json.loads(server.slipway("status", second, "--json"))["status"] == "completed")


def test_uninstall_keeps_only_the_data(server: Server) -> None:
    output = server.run("uninstall.sh", "--yes")
    assert "slipway-data" in output and "incomplete" not in output
    remaining = server.json("get", "all,secrets,configmaps,persistentvolumeclaims,roles,rolebindings,leases")["items"]
    names = {f"{each['kind']}/{each['metadata']['name']}" for each in remaining}
    deploy_account = {name for name in names if "slipway-deploy" in name}
    assert names - deploy_account == {"ConfigMap/kube-root-ca.crt", "PersistentVolumeClaim/slipway-data"}


def output_of(process: subprocess.Popen[str]) -> IO[str]:
    """Return the process's output, to read while it runs."""
    assert process.stdout is not None
    return process.stdout


def finish_held_run(server: Server, run_id: str) -> None:
    """Let a `held` run finish."""
    until(lambda: json.loads(server.slipway("status", run_id, "--json"))["status"] == "running")
    folder = f"/data/applications/{run_id}"
    server.kubectl("exec", "deployment/slipway-launcher", "--", "touch", f"{folder}/go")


def services(server: Server) -> set[str]:
    """Return the uids of the pods of launcher, operator and Redis."""
    selector = "--selector=app.kubernetes.io/name in (slipway-launcher, slipway-operator, slipway-redis)"
    return {pod["metadata"]["uid"] for pod in server.json("get", "pods", selector)["items"]}
