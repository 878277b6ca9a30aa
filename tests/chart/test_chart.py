"""The chart renders, its schema is closed and made anew, and what does not fit together is told with what to change."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.schema import CHART, make_schema

INSTALL = Path(__file__).with_name("install")
EVERYTHING = (
    "ingress.enabled=true,ingress.host=runner.example.com,cronJob.enabled=true,secrets.credentials=slipway-credentials,"
    "secrets.pipeline=slipway-pipeline,imagePullSecrets={ghcr},networkPolicy.metricsNamespaces={monitoring}"
)


@pytest.fixture(scope="session")
def helm() -> str:
    return f"{subprocess.run([INSTALL], check=True, capture_output=True, text=True, timeout=1200).stdout.strip()}/helm"


def render(helm: str, values: str = "") -> subprocess.CompletedProcess[str]:
    """Run `helm template` with values as `--set` takes them."""
    command = [helm, "template", "slipway", str(CHART), "--namespace", "slipway", "--set", values]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def objects(helm: str, values: str = "") -> dict[tuple[str, str], dict[str, Any]]:
    rendered = render(helm, values)
    assert rendered.returncode == 0, rendered.stderr
    found = [each for each in yaml.safe_load_all(rendered.stdout) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def test_helm_finds_no_fault(helm: str) -> None:
    for values in ("", EVERYTHING):
        linted = subprocess.run([helm, "lint", "--strict", CHART, "--set", values], capture_output=True, timeout=60)
        assert linted.returncode == 0, linted.stdout


def test_the_schema_is_made_from_the_values() -> None:
    made = make_schema((CHART / "values.yaml").read_text())
    assert (CHART / "values.schema.json").read_text() == made, "make it anew: python tests/chart/schema.py"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("qeue.maxConcurrency=3", "qeue"),
        ("queue.maxConcurrency=many", "maxConcurrency"),
        ("ingress.enabled=true", "Set ingress.host"),
        ("ingress.paths={/metrics}", "Take /metrics out"),
        ("secrets.existing=", "Set secrets.existing"),
        ("secrets.pipeline=slipway-env", "runs must not see RUNNER_API_SECRET"),
        ("redis.externalUrl=redis://other:6379", "one Redis is enough"),
        ("networkPolicy.runPorts={6443}", "must not reach the API server"),
        ("queue.timeoutSeconds=90000", "Set queue.maxTimeoutSeconds"),
    ],
)
def test_what_is_wrong_is_told(values: str, told: str, helm: str) -> None:
    rendered = render(helm, values)
    assert rendered.returncode != 0 and told in rendered.stderr, rendered


def test_an_upgrade_does_not_state_whether_the_queue_is_paused(helm: str) -> None:
    assert "data" not in objects(helm)["ConfigMap", "slipway-queue"]


def test_the_quota_is_as_large_as_the_launcher_is_told(helm: str) -> None:
    found = objects(helm, "queue.maxConcurrency=7")
    assert found["ResourceQuota", "slipway-runs"]["spec"] == {"hard": {"pods": "7"}, "scopes": ["Terminating"]}
    assert found["ConfigMap", "slipway-config"]["data"]["MAX_CONCURRENCY"] == "7"


def test_the_accounts_have_the_rights_of_the_cluster_tests(helm: str) -> None:
    found = objects(helm)
    manifests = CHART.parents[1] / "tests/cluster/manifests/slipway.yaml"
    for each in yaml.safe_load_all(manifests.read_text()):
        if each["kind"] == "Role":
            assert found["Role", each["metadata"]["name"]]["rules"] == each["rules"]


def test_only_what_is_listed_is_public(helm: str) -> None:
    for name in ("slipway-launcher", "slipway-https"):
        [rule] = objects(helm, EVERYTHING)["Ingress", name]["spec"]["rules"]
        assert [path["path"] for path in rule["http"]["paths"]] == ["/jobs", "/artifacts", "/health", "/queue"]


def test_the_plain_manifests_are_rendered_from_the_chart(helm: str) -> None:
    command = [helm, "template", "slipway", CHART, "--namespace", "slipway", "--skip-tests"]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert (CHART.parents[1] / "k8s/rendered/slipway.yaml").read_text() == rendered, "render them anew: make manifests"


def test_the_readme_is_made_from_the_values(helm: str) -> None:
    command = [str(Path(helm).with_name("helm-docs")), "--dry-run", "--chart-search-root", str(CHART)]
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert (CHART / "README.md").read_text().strip() == made.strip(), "make it anew: make manifests"
