"""Launcher and operator have only the permissions that they use, and a launcher that was taken over gains no others."""

from __future__ import annotations

import base64
import copy
import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.cluster import TESTS_IMAGE, Cluster
from cluster.escapes import JOBS, PATCHES, QUEUE_PATCHES, REQUESTS, Manifest
from cluster.runs import finish_held_run, until
from launcher.cluster.manifests import cancel_patch, make_job, pause_patch
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, now
from launcher.settings import SharedSettings
from launching.installation import Installation

GRANTED_TO_ALL = ("selfsubject", "clustertrustbundles")
"""Resources that Kubernetes lets every account use: asking for its own identity and permissions."""
LAUNCHER = {
    "batch/jobs": {"create", "get", "list", "watch", "patch"},
    "/configmaps:slipway-queue": {"get", "patch"},
    "coordination.k8s.io/leases:slipway-operator": {"get"},
}
OPERATOR = {
    "batch/jobs": {"get", "list", "watch", "patch", "delete"},
    "/pods": {"get", "list", "watch", "patch", "delete"},
    "/pods/log": {"get"},
    "/events": {"list"},
    "/configmaps:slipway-queue": {"get", "list", "watch"},
    "/resourcequotas:slipway-runs": {"get", "list", "watch"},
    "coordination.k8s.io/leases:slipway-operator": {"patch"},
}
OWN_IMAGE = "registry.example.com:5000/team/pipeline:1"
LOOK = "env; ls -R /var/run/secrets /run/secrets; cat /proc/self/mounts; cat /app/credentials/*"
PIPELINES: dict[str, dict[str, Any]] = {
    "look": {"command": ["sh", "-c", LOOK]},
    "held": {"command": ["sh", "-c", "echo up; while [ ! -e $APPLICATIONS_DIR/go ]; do sleep 0.1; done"]},
    "own-image": {"command": ["true"], "image": OWN_IMAGE},
}
SETTINGS = {
    "PIPELINE_IMAGE": TESTS_IMAGE,
    "PIPELINE_SECRET": "slipway-pipeline",
    "CREDENTIALS_SECRET": "slipway-credentials",
    "MASTER_CV_CONFIGMAP": "slipway-master-cv",
}
OF_RUNS = {"slipway-pipeline": {"A_KEY": "key-of-runs"}, "slipway-credentials": {"account.json": "credentials-of-runs"}}
OF_SERVICES = {
    "slipway-env": {"RUNNER_API_SECRET": "secret-of-the-launcher"},
    "slipway-redis": {"REDIS_PASSWORD": "secret-of-redis"},
    "slipway-deploy": {"token": "secret-of-deployments"},
}


@pytest.fixture(scope="module")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(cluster, tmp_path_factory.mktemp("slipway"), PIPELINES, slots=3, **SETTINGS) as running:
        objects: list[Manifest] = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
            for name, content in (OF_RUNS | OF_SERVICES).items()
        ]
        cv = {"metadata": {"name": "slipway-master-cv"}, "data": {"master-cv.md": "# A person"}}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", **cv})
        running.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))
        yield running


class LauncherToken:
    """Calls the API server with the launcher's own token. Nothing is changed: requests are dry runs."""

    def __init__(self, installation: Installation) -> None:
        self.namespace = installation.namespace
        config = yaml.safe_load((installation.directory / "slipway-launcher.kubeconfig").read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.client = httpx.Client(
            base_url=cluster["server"],
            headers={"Authorization": f"Bearer {user['token']}"},
            verify=ssl.create_default_context(cadata=authority),
            params={"dryRun": "All"},
            trust_env=False,
            timeout=30,
        )

    def create(self, job: Manifest) -> httpx.Response:
        """Create a Job."""
        return self.client.post(f"/apis/batch/v1/namespaces/{self.namespace}/jobs", json=job)

    def patch(self, path: str, patch: Manifest) -> httpx.Response:
        """Patch an object of the namespace; `path` begins with its API."""
        api, _, name = path.partition(":")
        headers = {"Content-Type": "application/merge-patch+json"}
        url = f"/{api}/namespaces/{self.namespace}/{name}"
        return self.client.patch(url, content=json.dumps(patch), headers=headers)

    def refuses(self, answer: httpx.Response) -> bool:
        """Whether the admission policy refused a request."""
        return answer.status_code == 422 and f"'slipway-runs-{self.namespace}'" in answer.json()["message"]


@pytest.fixture(scope="module")
def token(installation: Installation) -> Iterator[LauncherToken]:
    api = LauncherToken(installation)
    try:
        until(lambda: api.refuses(api.create(changed("host network"))))  # a new policy applies a moment later
        yield api
    finally:
        api.client.close()


def run_job(pipeline: Pipeline | None = None, *, run: dict[str, Any] | None = None, **settings: str) -> Manifest:
    """Return the Job that the launcher creates for a run."""
    at = now()
    made = Run(run_id="4711-by-the-launcher", job_id="4711", created_at=at, updated_at=at)
    found = make_job(
        replace(made, **(run or {})), pipeline or Pipeline(), SharedSettings.from_environment(SETTINGS | settings)
    )
    return copy.deepcopy(found)


def changed(name: str) -> Manifest:
    """Return a run's Job with one of the changes in `JOBS`."""
    job = run_job()
    JOBS[name](job)
    return job


def rights(cluster: Cluster, kubeconfig: Path, namespace: str) -> dict[str, set[str]]:
    """Return an account's permissions in a namespace, like `kubectl auth can-i --list`: verbs by resource."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    arguments = ("create", "--filename=-", "--validate=false", "--output=json")
    answer = json.loads(cluster.kubectl(*arguments, input=json.dumps(review), kubeconfig=kubeconfig))
    assert not answer["status"]["incomplete"]
    found: dict[str, set[str]] = {}
    for rule in answer["status"]["resourceRules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    key = f"{group}/{resource}:{name}".rstrip(":")
                    if not resource.startswith(GRANTED_TO_ALL):
                        found.setdefault(key, set()).update(rule["verbs"])
    return found


@pytest.mark.parametrize("account, expected", [("slipway-launcher", LAUNCHER), ("slipway-operator", OPERATOR)])
def test_account_has_only_the_permissions_it_uses(
    account: str, expected: dict[str, set[str]], installation: Installation
) -> None:
    kubeconfig = installation.directory / f"{account}.kubeconfig"
    cluster, namespace = installation.cluster, installation.namespace
    assert rights(cluster, kubeconfig, namespace) == expected  # no secrets, no pods/exec, no wildcard
    assert rights(cluster, kubeconfig, "kube-system") == {}  # and nothing cluster-wide


@pytest.mark.parametrize(
    "job",
    [
        run_job(),
        run_job(run={"profile_ref": "senior", "params": {"a": "$(b)"}, "priority": 5, "timeout_seconds": 86_400}),
        run_job(run={"idempotency_hash": "0" * 64, "request_hash": "1" * 64}),
        run_job(Pipeline(name="own-image", command=["true"], image=OWN_IMAGE)),
        run_job(Pipeline(name="own-image", image=f"{OWN_IMAGE.removesuffix(':1')}@sha256:{'0' * 64}")),
        run_job(Pipeline(resources={"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"example.com/gpu": 1}})),
        run_job(PIPELINE_IMAGE=TESTS_IMAGE.replace(":test", ":of-the-previous-revision")),
        run_job(TERMINATION_GRACE_SECONDS="3600", PIPELINE_EPHEMERAL_STORAGE="20Gi"),
        run_job(PIPELINE_SECRET="", CREDENTIALS_SECRET="", MASTER_CV_CONFIGMAP=""),
    ],
)
def test_every_job_of_a_run_passes(job: Manifest, token: LauncherToken) -> None:
    answer = token.create(job)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("name", JOBS)
def test_launcher_cannot_create_any_other_job(name: str, token: LauncherToken) -> None:
    answer = token.create(changed(name))
    assert token.refuses(answer), answer.text


def test_launcher_cannot_debug_a_pod_through_its_template(token: LauncherToken) -> None:
    job = run_job()
    job["spec"]["template"]["spec"]["ephemeralContainers"] = [{"name": "debug", "image": TESTS_IMAGE}]
    answer = token.create(job)
    assert answer.status_code == 422 and "ephemeral containers not allowed" in answer.text, answer.text


def test_launcher_can_only_cancel_runs_and_pause_the_queue(installation: Installation, token: LauncherToken) -> None:
    launcher = installation.launcher
    running = launcher.run("1", pipeline="held")["run_id"]
    until(lambda: launcher.status(running)["status"] == "running")
    launcher.client.post("/queue/pause").raise_for_status()
    suspended = launcher.run("2", pipeline="held")["run_id"]
    try:
        for run_id in (suspended, running):
            for name, patch in PATCHES.items():
                answer = token.patch(f"apis/batch/v1:jobs/{run_id}", patch)
                unchanged = name == "released past the queue" and run_id == running
                assert token.refuses(answer) or answer.status_code == 422 or unchanged, (name, answer.text)
            assert token.patch(f"apis/batch/v1:jobs/{run_id}", cancel_patch(now())).status_code == 200
        for name, patch in QUEUE_PATCHES.items():
            assert token.refuses(token.patch("api/v1:configmaps/slipway-queue", patch)), name
        assert token.patch("api/v1:configmaps/slipway-queue", pause_patch(False)).status_code == 200
    finally:
        launcher.client.delete(f"/jobs/{suspended}")
        launcher.client.post("/queue/resume").raise_for_status()
        finish_held_run(installation, running)
    assert launcher.wait(running)["status"] == "completed"
    assert launcher.wait(suspended)["status"] == "cancelled"


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_launcher_has_no_other_permission(method: str, path: str, token: LauncherToken) -> None:
    answer = token.client.request(
        method,
        path.format(namespace=token.namespace),
        content="{}",
        headers={"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"},
    )
    assert answer.status_code == 403 and "cannot" in answer.json()["message"], answer.text


def test_run_has_no_token_and_no_secret_but_its_own(installation: Installation) -> None:
    launcher = installation.launcher
    run_id = launcher.run("1", pipeline="look")["run_id"]
    launcher.wait(run_id)
    seen = launcher.log(run_id).decode()
    assert "A_KEY=key-of-runs" in seen and "credentials-of-runs" in seen
    assert "serviceaccount" not in seen
    for secret in (*(value for content in OF_SERVICES.values() for value in content.values()), launcher.secret):
        assert secret not in seen
    [pod] = installation.pods(run_id)
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert {each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each} <= OF_RUNS.keys()
    assert not any("projected" in each for each in pod["spec"]["volumes"])
