"""The scripts of k8s/ on the cluster: install and configure, deploy, drain, rotate, back up and restore, uninstall."""

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
from launching.scripts import SCRIPTS, Server

PIPELINES: dict[str, dict[str, Any]] = {
    "told": {"command": ["sh", "-c", "cat /app/master-cv.md /app/credentials/*; env | sort"]},
    "held": {"command": ["sh", "-c", "echo up; while [ ! -e $APPLICATIONS_DIR/go ]; do sleep 0.1; done; echo done"]},
}


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(cluster, tmp_path_factory.mktemp("server"))
    values = server.directory / "pipelines.yaml"
    pipelines = {name: {"image": TESTS_IMAGE, "artifacts": {}, **each} for name, each in PIPELINES.items()}
    values.write_text(json.dumps({"pipelines": pipelines}))
    try:
        said = server.install("--config", str(server.config), "--values", str(values))
        assert "revision 1 is healthy" in said
        yield server
    finally:
        server.remove()


def told(server: Server) -> str:
    """Return what a run says of its configuration."""
    return server.slipway("run", "1", "--pipeline", "told", "--follow")


def test_runs_get_cv_credentials_and_their_part_of_env_but_not_the_secret(server: Server) -> None:
    log = told(server)
    assert (server.config / "master-cv.md").read_text().splitlines()[0] in log
    assert '{"made": "for a test"}' in log
    assert "FIRECRAWL_API_URL=http://firecrawl.example" in log
    assert "RUNNER_API_SECRET" not in log and server.secret not in log
    labels = server.json("get", "namespace", server.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_runs_may_not_reach_what_the_server_serves_on_its_own_address(server: Server) -> None:
    (node,) = server.cluster.json("get", "nodes")["items"]
    own = {each["address"] for each in node["status"]["addresses"] if each["type"] != "Hostname"}
    rules = server.json("get", "networkpolicy", "slipway-runs")["spec"]["egress"]
    blocks = [each["ipBlock"] for rule in rules for each in rule.get("to", ()) if "ipBlock" in each]
    assert blocks and all({f"{address}/32" for address in own} <= set(block["except"]) for block in blocks)


def test_the_next_run_sees_a_changed_cv_and_an_upgrade_leaves_it_alone(server: Server) -> None:
    (server.config / "master-cv.md").write_text("# Another person\n")
    assert "changed slipway-master-cv" in server.run("config.py", str(server.config))
    assert "# Another person" in told(server)
    before = server.versions()
    server.install()
    assert server.versions() == before
    assert "# Another person" in told(server)


def test_the_same_install_again_changes_nothing(server: Server) -> None:
    before, pods = server.versions(), services(server)
    assert "config: no changes" in server.install("--config", str(server.config))
    assert (server.versions(), services(server)) == (before, pods)


def test_an_image_that_cannot_be_pulled_changes_nothing(server: Server) -> None:
    before = server.json("get", "deployment", "slipway-launcher")["metadata"]["generation"]
    said = server.run("install.sh", "--image-tag", "never-pushed", fails=True)
    assert "localhost/slipway:never-pushed" in said and "nothing was changed" in said
    assert server.json("get", "deployment", "slipway-launcher")["metadata"]["generation"] == before
    assert "slipway-pull" not in server.kubectl("get", "pods")


def test_an_upgrade_that_was_cut_off_is_mended_by_the_next(server: Server) -> None:
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


def test_who_deploys_can_upgrade_and_roll_back_but_do_nothing_beyond_the_namespace(
    server: Server, tmp_path: Path
) -> None:
    account = (SCRIPTS / "deploy-account.yaml").read_text().replace("@namespace@", server.namespace)
    server.cluster.kubectl("apply", "--filename=-", input=account)
    kubeconfig = server.cluster.service_account_kubeconfig(server.namespace, "slipway-deploy", tmp_path / "kubeconfig")
    administrator, server.kubeconfig = server.kubeconfig, kubeconfig
    try:
        assert "is healthy" in server.install("--set", "launcher.rateLimitPerMinute=5000")
        assert "Rollback was a success" in server.run("rollback.sh")
        for refused in (
            ["get", "secrets", "--namespace=kube-system"],
            ["create", "namespace", "mine"],
            ["get", "nodes"],
        ):
            done = subprocess.run(["kubectl", *refused], env=server.environment, capture_output=True, timeout=60)
            assert b"Forbidden" in done.stderr, refused
    finally:
        server.kubeconfig = administrator
        server.cluster.kubectl(
            "delete", "clusterrole,clusterrolebinding", f"slipway-deploy-{server.namespace}", "--ignore-not-found"
        )


def test_two_secrets_are_valid_while_rotating(server: Server) -> None:
    old = server.secret
    server.secret = new = "another-secret-of-more-than-32-bytes"
    server.write_env(RUNNER_API_SECRET_PREVIOUS=old, MAX_CONCURRENCY="2")
    said = server.run("config.py", str(server.config))
    assert "restarting launcher and operator" in said and "MAX_CONCURRENCY: chart values" in said
    server.slipway("ps", secret=old)
    server.slipway("ps", secret=new)
    server.write_env()
    server.run("config.py", str(server.config))
    server.slipway("ps", secret=old, fails=True)
    server.slipway("ps", secret=new)


def test_drain_waits_for_what_runs_and_holds_back_the_rest_until_resume(server: Server) -> None:
    first = json.loads(server.slipway("run", "first", "--pipeline", "held", "--json"))["run_id"]
    until(lambda: json.loads(server.slipway("status", first, "--json"))["status"] == "running")
    # Who runs tests in the background has SIGINT ignored, and a shell traps no signal that it was started to ignore.
    interruptible = ["env", "--default-signal=INT", *server.command("drain.sh")]
    with subprocess.Popen(
        interruptible, env=server.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as drain:
        lines = said_by(drain)
        until(lambda: first in lines.readline())
        second = json.loads(server.slipway("run", "second", "--pipeline", "held", "--json"))["run_id"]
        os.killpg(drain.pid, signal.SIGINT)  # as a terminal does: to the script and to what it has called
        assert "The queue stays paused" in lines.read()
        assert drain.wait(30) == 130
    with subprocess.Popen(
        server.command("drain.sh"), env=server.environment, stdout=subprocess.PIPE, text=True
    ) as drain:
        lines = said_by(drain)
        until(lambda: first in lines.readline())
        let_go(server, first)
        assert "no run is active" in lines.read()
        assert drain.wait(60) == 0
    assert json.loads(server.slipway("status", second, "--json"))["status"] == "queued"
    server.run("resume.sh")
    let_go(server, second)
    until(lambda: json.loads(server.slipway("status", second, "--json"))["status"] == "completed")


def test_a_backup_brings_logs_back_after_everything_was_deleted(server: Server, tmp_path: Path) -> None:
    followed = server.slipway("run", "kept", "--pipeline", "told", "--follow", "--json").splitlines()
    run_id = json.loads(followed[-1])["data"]["run_id"]
    log = server.slipway("logs", run_id)
    saved = tmp_path / "slipway.tar.gz"
    server.run("data.sh", "backup", str(saved))
    said = server.run("uninstall.sh", "--yes")
    assert "slipway-data" in said and "incomplete" not in said
    left = server.json("get", "all,secrets,configmaps,persistentvolumeclaims,roles,rolebindings,leases")["items"]
    names = {f"{each['kind']}/{each['metadata']['name']}" for each in left}
    of_deploying = {name for name in names if "slipway-deploy" in name}
    assert names - of_deploying == {"ConfigMap/kube-root-ca.crt", "PersistentVolumeClaim/slipway-data"}
    server.kubectl("delete", "persistentvolumeclaim", "slipway-data", "--timeout=60s")

    values = server.directory / "pipelines.yaml"
    server.install("--config", str(server.config), "--values", str(values))
    server.slipway("logs", run_id, fails=True)
    server.run("data.sh", "restore", str(saved))
    assert server.slipway("logs", run_id) == log
    assert json.loads(server.slipway("status", run_id, "--json"))["status"] == "completed"


def said_by(process: subprocess.Popen[str]) -> IO[str]:
    """Return what the process prints, as it does."""
    assert process.stdout is not None
    return process.stdout


def let_go(server: Server, run_id: str) -> None:
    """Let a `held` run end."""
    until(lambda: json.loads(server.slipway("status", run_id, "--json"))["status"] == "running")
    folder = f"/data/applications/{run_id}"
    server.kubectl("exec", "deployment/slipway-launcher", "--", "touch", f"{folder}/go")


def services(server: Server) -> set[str]:
    """Return the uids of the pods of launcher, operator and Redis."""
    selector = "--selector=app.kubernetes.io/name in (slipway-launcher, slipway-operator, slipway-redis)"
    return {pod["metadata"]["uid"] for pod in server.json("get", "pods", selector)["items"]}
