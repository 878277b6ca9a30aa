"""The probes' Jobs: like a run's where policies look, and nothing that a run owns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.cluster import labels
from launcher.cluster.manifests import make_job
from launcher.cluster.probe import probes
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, now
from launcher.settings import SharedSettings

IMAGE = "ghcr.io/me/runner:1"
ENVIRONMENT = {
    "REDIS_URL": "redis://:hunter@slipway-redis:6379/5",
    "PIPELINE_IMAGE": "ghcr.io/me/pipeline:1",
    "PIPELINE_SECRET": "slipway-pipeline",
    "CREDENTIALS_SECRET": "slipway-credentials",
    "MASTER_CV_CONFIGMAP": "slipway-master-cv",
    "IMAGE_PULL_SECRETS": "slipway-registry",
}
RUN = Run(run_id="4711-01jd", job_id="4711", created_at=now(), updated_at=now())


@pytest.fixture
def settings(tmp_path: Path) -> SharedSettings:
    entries = tmp_path / "pipelines.yaml"
    entries.write_text("own: {command: [run], image: ghcr.io/me/own:2}\nplain: {command: [run]}\n")
    return SharedSettings.from_environment({**ENVIRONMENT, "PIPELINES_FILE": str(entries)})


@pytest.fixture
def made(settings: SharedSettings) -> dict[str, Any]:
    return probes(settings, IMAGE, {"seconds": 30, "internet": "www.example", "name": None, "nodes": []})


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def test_pod_of_the_network_probe_is_a_runs_pod_to_policies(made: dict[str, Any], settings: SharedSettings) -> None:
    run, probe = make_job(RUN, Pipeline(), settings), made["network"]
    assert (
        run["spec"]["template"]["metadata"]["labels"].items() <= probe["spec"]["template"]["metadata"]["labels"].items()
    )
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets"):
        assert pod_of(probe)[name] == pod_of(run)[name]
    assert pod_of(probe).get("serviceAccountName") == pod_of(run).get("serviceAccountName")
    assert pod_of(probe)["containers"][0]["securityContext"] == pod_of(run)["containers"][0]["securityContext"]


@pytest.mark.parametrize("name", ["network", "pull"])
def test_job_of_a_probe_is_not_a_run_takes_no_slot_and_ends_by_itself(name: str, made: dict[str, Any]) -> None:
    job = made[name]
    assert labels.RUN not in job["metadata"]["labels"] and job["metadata"]["labels"][labels.PROBE] == "true"
    assert not job["spec"]["suspend"] and job["spec"]["backoffLimit"] == 0
    assert "activeDeadlineSeconds" not in pod_of(job), "the quota counts pods with a deadline"
    assert job["spec"]["activeDeadlineSeconds"] <= 300 and job["spec"]["ttlSecondsAfterFinished"] <= 60


@pytest.mark.parametrize("name", ["network", "pull"])
def test_probe_gets_no_secret_and_touches_no_data(name: str, made: dict[str, Any]) -> None:
    text = json.dumps(made[name])
    assert not any(word in text for word in ("hunter", "slipway-pipeline", "slipway-credentials", "slipway-data"))
    mounted = {each["name"] for container in pod_of(made[name])["containers"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod_of(made[name])["volumes"]} == {"home", "tmp", "shm"}


def test_plan_has_the_services_of_this_installation(made: dict[str, Any]) -> None:
    plan = json.loads(pod_of(made["network"])["containers"][0]["args"][-1])
    assert plan["forbidden"] == {
        "Redis": ["slipway-redis:6379"],
        "launcher": ["slipway-launcher:80"],
        "metadata address": ["169.254.169.254:80"],
    }
    assert {22, 6443, 10250} <= set(plan["node_ports"])
    assert (plan["seconds"], plan["internet"]) == (30, "www.example")


def test_redis_outside_the_cluster_is_tried_at_its_own_address() -> None:
    outside = SharedSettings.from_environment({"REDIS_URL": "redis://10.0.0.9/5"})
    plan = json.loads(pod_of(probes(outside, IMAGE, {})["network"])["containers"][0]["args"][-1])
    assert plan["forbidden"]["Redis"] == ["10.0.0.9:6379"]
    without = json.loads(
        pod_of(probes(SharedSettings.from_environment({}), IMAGE, {})["network"])["containers"][0]["args"][-1]
    )
    assert "Redis" not in without["forbidden"]


def test_every_image_is_tried_both_on_the_node_and_at_the_registry(made: dict[str, Any]) -> None:
    assert made["images"] == {
        IMAGE: ["launcher"],
        "ghcr.io/me/pipeline:1": ["pipeline default", "pipeline plain"],
        "ghcr.io/me/own:2": ["pipeline own"],
    }
    containers = {each["name"]: each for each in pod_of(made["pull"])["containers"]}
    for number, image in enumerate(made["images"]):
        have, pull = containers[f"have-{number}"], containers[f"pull-{number}"]
        assert (have["image"], have["imagePullPolicy"]) == (image, "Never")
        assert (pull["image"], pull["imagePullPolicy"]) == (image, "Always")
    assert labels.RUN not in made["pull"]["spec"]["template"]["metadata"]["labels"]
