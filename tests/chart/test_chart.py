"""The chart is valid, its generated files are current, and inconsistent values are rejected with advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .conftest import EVERYTHING, HERE, Objects, Render, run
from .schema import CHART, make_schema

ROOT = CHART.parents[1]
PRESETS = {"values-4gb.yaml": 4 << 30, "values-8gb.yaml": 8 << 30}
NODE_OVERHEAD_BYTES = 1 << 30
"""Memory for k3s, Traefik, CoreDNS and the system."""
RENDERINGS = [(), (EVERYTHING,), *((CHART / name,) for name in PRESETS)]
OTHERS = "Middleware"
"""Kinds of Traefik, comma-separated, for which there is no schema."""
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@pytest.fixture(scope="session")
def kubeconform(programs: Path) -> list[object]:
    """The command that validates manifests from standard input, rejecting unknown fields."""
    schemas = programs / "schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json"
    return [programs / "kubeconform", "-strict", "-summary", "-skip", OTHERS, "-schema-location", schemas, "-"]


@pytest.mark.parametrize("files", RENDERINGS)
def test_helm_lint_passes(files: tuple[Path, ...], programs: Path) -> None:
    linted = run(programs / "helm", "lint", "--strict", CHART, *(f"--values={file}" for file in files))
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("files", RENDERINGS)
def test_manifests_match_the_schemas(files: tuple[Path, ...], kubeconform: list[object], render: Render) -> None:
    rendered = render("", *files).stdout
    checked = run(*kubeconform, input=rendered)
    assert checked.returncode == 0, checked.stdout
    skipped = sum(each["kind"] in OTHERS.split(",") for each in yaml.safe_load_all(rendered) if each)
    assert f"Skipped: {skipped}\n" in checked.stdout


def test_unknown_field_is_detected(kubeconform: list[object], render: Render) -> None:
    checked = run(*kubeconform, input=render().stdout.replace("replicas: 1", "replicsa: 1"))
    assert checked.returncode == 1 and "replicsa" in checked.stdout


def test_helm_unittest_suites_pass(programs: Path) -> None:
    suites = sorted((HERE / "unit").glob("*.yaml"))
    done = run(programs / "helm-unittest", "--strict", *(f"--file={suite}" for suite in suites), CHART)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Test Suites: {len(suites)} passed, {len(suites)} total" in done.stdout


def test_schema_is_generated_from_the_values() -> None:
    made = make_schema((CHART / "values.yaml").read_text())
    assert (CHART / "values.schema.json").read_text() == made, "out of date: run make manifests"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("qeue.maxConcurrency=3", "qeue"),
        ("queue.maxConcurrency=many", "maxConcurrency"),
        ("queue.maxConcurrency=0", "maxConcurrency"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("networkPolicy.apiPorts={70000}", "apiPorts"),
        ("networkPolicy.nodeAddresses={203.0.113.7}", "nodeAddresses"),
        ("data.storage=ten", "storage"),
        ("launcher.resources.limits.memory=256MB", "memory"),
        ("launcher.resources.limit.memory=256Mi", "limit"),
        ("redis.maxMemory=96Mi", "maxMemory"),
        ("logs.maxBytes=64Mi", "maxBytes"),
        ("ingress.enabled=true", "Set ingress.host"),
        ("ingress.external.enabled=true", "Set ingress.host"),
        ("ingress.enabled=true,ingress.external.enabled=true,ingress.host=h.example.com", "Set either ingress.enabled"),
        ("ingress.external.clusterIP=None", "clusterIP"),
        ("ingress.paths={/metrics}", "Remove /metrics from ingress.paths"),
        ("secrets.existing=", "Set secrets.existing"),
        ("secrets.values.RUNNER_API_SECRET=short", "32 bytes or more"),
        ("secrets.pipeline=slipway-env", "runs must not see RUNNER_API_SECRET"),
        ("redis.externalUrl=redis://other:6379", "Set redis.enabled to false"),
        ("redis.enabled=false", "Set redis.externalUrl or redis.externalUrlSecret"),
        ("redis.enabled=false,redis.externalUrl=redis://:pass@other:6379", "set redis.externalUrlSecret"),
        ("redis.enabled=false,redis.externalUrl=redis://other,redis.externalUrlSecret=other", "Set either"),
        ("redis.maxMemory=192mb", "Set redis.maxMemory below redis.resources.limits.memory, which is 192Mi"),
        ("launcher.resources.requests.memory=1Gi", "Set launcher.resources.requests.memory to at most"),
        ("runs.limitRange.limits.memory=128Mi", "Set runs.limitRange.requests.memory to at most"),
        ("networkPolicy.runPorts={6443}", "must not access the API server"),
        ("queue.timeoutSeconds=90000", "Set queue.maxTimeoutSeconds"),
    ],
)
def test_invalid_values_are_rejected_with_advice(values: str, message: str, render: Render) -> None:
    rendered = render(values)
    assert rendered.returncode != 0 and message in rendered.stderr, rendered


@pytest.mark.parametrize(("preset", "node_bytes"), PRESETS.items())
def test_preset_fits_its_node(preset: str, node_bytes: int, objects: Callable[..., Objects]) -> None:
    found = objects("", CHART / preset)
    services = sum(
        _bytes(container["resources"]["limits"]["memory"])
        for (kind, _), each in found.items()
        if kind in ("Deployment", "StatefulSet")
        for container in each["spec"]["template"]["spec"]["containers"]
    )
    [limit] = found["LimitRange", "slipway-runs"]["spec"]["limits"]
    slots = int(found["ResourceQuota", "slipway-runs"]["spec"]["hard"]["pods"])
    runs = slots * _bytes(limit["default"]["memory"])
    assert 0.7 * node_bytes < services + runs + NODE_OVERHEAD_BYTES < node_bytes


def test_terminating_launcher_serves_until_its_endpoint_is_removed(objects: Callable[..., Objects]) -> None:
    pod = objects()["Deployment", "slipway-launcher"]["spec"]["template"]["spec"]
    [launcher] = pod["containers"]
    delay = launcher["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 2 <= delay <= pod["terminationGracePeriodSeconds"] - 20, "the delay counts towards the grace period"


def test_chart_package_contains_the_uninstall_script(programs: Path, tmp_path: Path) -> None:
    run(programs / "helm", "package", CHART, f"--destination={tmp_path}")
    [package] = tmp_path.iterdir()
    assert "only for helm uninstall" in run(programs / "helm", "template", package).stdout


def test_roles_match_the_cluster_tests(objects: Callable[..., Objects]) -> None:
    found = objects()
    manifests = ROOT / "tests/support/cluster/manifests/slipway.yaml"
    for each in yaml.safe_load_all(manifests.read_text()):
        if each["kind"] == "Role":
            assert found["Role", each["metadata"]["name"]]["rules"] == each["rules"]


def test_rendering_with_everything_enabled_is_unchanged(render: Render) -> None:
    rendered = render("", EVERYTHING)
    assert (HERE / "everything.rendered.yaml").read_text() == rendered.stdout, "run make manifests, review the diff"


def test_plain_manifests_are_rendered_from_the_chart(programs: Path) -> None:
    # Without hooks: with kubectl apply, the uninstall hook would delete all runs.
    rendered = run(programs / "helm", "template", "slipway", CHART, "--namespace=slipway", "--no-hooks").stdout
    assert (ROOT / "k8s/rendered/slipway.yaml").read_text() == rendered, "out of date: run make manifests"


def test_readme_is_generated_from_the_values(programs: Path) -> None:
    made = run(programs / "helm-docs", "--dry-run", "--chart-search-root", CHART).stdout
    assert (CHART / "README.md").read_text().strip() == made.strip(), "out of date: run make manifests"


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]
