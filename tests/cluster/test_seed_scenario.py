"""The seed's scenario on the cluster, with launcher and operator in it from the project's own image."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from httpx_sse import connect_sse
from pymongo import MongoClient

from cluster.cluster import LAUNCHER_IMAGE, PIPELINE_IMAGE, Cluster
from cluster.conftest import until
from launching.launcher import ROOT
from servers.forwarding import Forwarder
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer

MANIFESTS = Path(__file__).parent / "manifests"
SECRET = secrets.token_hex(32)
START_SECONDS = 120


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"seed-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def site(
    cluster: Cluster, namespace: str, redis_server: RedisServer, mongodb_server: MongodbServer
) -> Iterator[httpx.Client]:
    """Slipway in the cluster, and a client of its launcher."""
    redis_server.revive()
    mongodb_server.revive()
    with (
        Forwarder(cluster.gateway, redis_server.port) as redis,
        Forwarder(cluster.gateway, mongodb_server.port) as mongo,
    ):
        mongodb_uri = f"mongodb://{mongo.host}:{mongo.port}/?directConnection=true"
        settings = {
            "ENGINE": "kubernetes",
            "RUNNER_API_SECRET": SECRET,
            "REDIS_URL": f"redis://{redis.host}:{redis.port}/0",
            "MONGODB_URI": mongodb_uri,
            "ARCHIVE_DIR": "/data/archive",
            "APPLICATIONS_DIR": "/data/applications",
            "PIPELINE_IMAGE": PIPELINE_IMAGE,
            "PIPELINE_SECRET": "pipeline",
            "MASTER_CV_CONFIGMAP": "master-cv",
        }
        objects = [
            *(each for name in ("slipway", "deployments") for each in _read(f"{name}.yaml", namespace)),
            _named("Secret", "slipway", stringData=settings),
            _named("Secret", "pipeline", stringData={"MONGODB_URI": mongodb_uri}),
            _named("ConfigMap", "master-cv", data={"master-cv.md": _sample("master-cv.md")}),
        ]
        cluster.kubectl("apply", f"--namespace={namespace}", "--filename=-", input=yaml.safe_dump_all(objects))
        for name in ("slipway-launcher", "slipway-operator"):
            cluster.kubectl(
                "rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={START_SECONDS}s"
            )
        address = cluster.json("get", "service", "slipway-launcher", f"--namespace={namespace}")["spec"]["clusterIP"]
        headers = {"Authorization": f"Bearer {SECRET}"}
        with httpx.Client(base_url=f"http://{address}", headers=headers, trust_env=False, timeout=60) as client:
            yield client


def test_a_posting_in_mongodb_becomes_a_cv_and_kubectl_tells_the_same(
    cluster: Cluster, namespace: str, site: httpx.Client, mongodb_server: MongodbServer
) -> None:
    if not cluster.can_control:
        pytest.skip(
            f"Pods and services of this cluster are not reached from here, nor is {LAUNCHER_IMAGE} surely there."
        )
    posting = json.loads(_sample("postings/4711.json"))
    with MongoClient[dict[str, Any]](mongodb_server.url) as mongo:
        items = mongo["jobs"]["level-2"]
        items.delete_many({})
        items.insert_one({**posting, "jobId": 4711})
        answer = site.post("/jobs/run", json={"job_id": "4711", "profile_ref": "senior"})
        assert answer.status_code == 200, answer.text
        run_id = answer.json()["run_id"]
        with connect_sse(site, "GET", f"/jobs/{run_id}/logs") as stream:
            events = [(event.event, event.data) for event in stream.iter_sse()]
        lines = [data for name, data in events if name == "message" and data]
        assert "Starting pipeline" in lines[0]
        assert events[-1][0] == "end"
        assert [name for name, _ in events if name == "progress"]
        run = json.loads(events[-1][1])
        assert (run["status"], run["exit_code"], run["log"]["complete"]) == ("completed", 0, True), lines
        assert site.get(run["artifacts"]["cv_md_url"]).text.startswith("# ")
        assert set(run["artifacts"]) == {"cv_md_url", "cv_docx_url", "cover_letter_url", "dossier_url"}

        def item() -> dict[str, Any]:
            return items.find_one({"jobId": 4711}) or {}

        until(lambda: item().get("pipeline_status") == "completed")
        found = item()
        assert (found["pipeline_run_id"], found["artifact_urls"]) == (run_id, run["artifacts"])
        assert found["pipeline_run_at"] <= found["pipeline_completed_at"]
        history = mongo["jobs"]["pipeline_runs"].find_one({"_id": run_id})
        assert history is not None and history["status"] == "completed"
    listing = cluster.kubectl("get", "jobs", f"--namespace={namespace}")
    assert any(line.startswith("4711-") and "Complete" in line for line in listing.splitlines())
    log = cluster.kubectl("logs", f"job/{run_id}", f"--namespace={namespace}")
    archived = site.get(f"/jobs/{run_id}/log").text
    assert archived.split("\n", 1)[1] == log
    health = site.get("/health").json()
    assert (health["status"], health["engine"], health["kubernetes"]) == ("healthy", "kubernetes", "ok")


def _read(name: str, namespace: str) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = list(yaml.safe_load_all((MANIFESTS / name).read_text()))
    for each in objects:
        for subject in each.get("subjects", ()):
            subject["namespace"] = namespace
    return objects


def _named(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


def _sample(name: str) -> str:
    return (ROOT / "pipeline-image/samples" / name).read_text()
