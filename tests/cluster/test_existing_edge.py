"""Beside what a server already runs: n8n with its Redis and a Traefik in Docker, whose route must keep working.

Docker is Debian's, and Traefik the one of the other tests, here in a container. k3s itself, whose Traefik and load
balancer bootstrap.sh disables, is not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from cluster.cluster import NODE_ADDRESS, TESTS_IMAGE, Cluster, wait_for_service
from cluster.runs import until
from launching.authority import Authority
from launching.docker import GATEWAY, N8N, NETWORK, Docker, Poller
from launching.scripts import Server

pytestmark = pytest.mark.disruptive  # the node drops what it forwards, except of pods
HOST = "runner.example.test"
TRAEFIK_TIMEOUT_SECONDS, SILENT_SECONDS = 2, 6
PIPELINES: dict[str, dict[str, Any]] = {
    "silent": {"command": ["sh", "-c", f"echo before; sleep {SILENT_SECONDS}; echo after"]},
}


@pytest.fixture(scope="module")
def docker(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    if not cluster.can_control:
        pytest.skip("Docker must run in the network of the node.")
    authority = Authority(cluster)
    try:
        authority.start({HOST: NODE_ADDRESS, N8N: NODE_ADDRESS})
        with Docker(cluster, authority, tmp_path_factory.mktemp("docker")) as running:
            with running.client(N8N) as client:
                wait_for_service(lambda: _status(client, "/") == 200, 60, "n8n")
            yield running
    finally:
        authority.remove()


@pytest.fixture(scope="module")
def server(cluster: Cluster, docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(cluster, tmp_path_factory.mktemp("server"))
    server.program("docker", f'exec {docker.cli} "$@"')
    server.variables["EDGE_FILE"] = str(docker.routes / "slipway.yaml")
    server.variables["CURL_HOME"] = str(server.directory)
    (server.directory / ".curlrc").write_text(f'resolve = "{HOST}:443:{NODE_ADDRESS}"\ncacert = "{docker.root}"\n')
    values = server.directory / "pipelines.yaml"
    pipelines = {name: {"image": TESTS_IMAGE, "artifacts": {}, **each} for name, each in PIPELINES.items()}
    values.write_text(json.dumps({"pipelines": pipelines}))
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def client(docker: Docker, server: Server) -> Iterator[httpx.Client]:
    with docker.client(HOST) as client:
        client.headers["Authorization"] = f"Bearer {server.secret}"
        yield client


def test_n8n_and_the_firewall_are_untouched_by_an_install(server: Server, docker: Docker) -> None:
    before = docker.firewall()
    assert any("-j DOCKER" in rule for rule in before)
    server.write_env(REDIS_URL=f"redis://{GATEWAY}:6379/5")
    values = str(server.directory / "pipelines.yaml")
    options = ["--host", HOST, "--edge", "existing", "--edge-network", NETWORK, "--redis", "external"]
    with Poller(docker) as poller:
        output = server.install("--config", str(server.config), "--values", values, *options)
    assert f"Redis responds at {GATEWAY}:6379, database 5" in output
    assert "does not respond yet" not in output
    assert (poller.failures, poller.responses > 10) == ([], True)
    assert docker.firewall() == before


def test_https_answers_through_the_existing_traefik(client: httpx.Client) -> None:
    health = client.get("/health").raise_for_status().json()
    assert (health["status"], health["redis"]) == ("healthy", "ok")
    assert [client.get(path).status_code for path in ("/metrics", "/docs", "/livez", "/")] == [404] * 4


def test_silent_stream_stays_open(client: httpx.Client) -> None:
    assert SILENT_SECONDS > 2 * TRAEFIK_TIMEOUT_SECONDS
    answer = client.post("/jobs/run", json={"job_id": "1", "pipeline": "silent"}).raise_for_status().json()
    with connect_sse(client, "GET", f"/jobs/{answer['run_id']}/logs") as stream:  # raises an error if it breaks
        events = list(stream.iter_sse())
    assert [each.data for each in events if each.event == "message"][-2:] == ["before", "after"]
    assert events[-1].event == "end"


def test_runs_are_kept_in_the_given_database(docker: Docker, client: httpx.Client) -> None:
    assert client.get("/jobs").json()["runs"]
    keyspace = docker.docker("exec", "redis", "redis-cli", "info", "keyspace")
    assert "db5:" in keyspace and "db0:" not in keyspace


def test_redis_is_checked_from_a_pod(server: Server) -> None:
    rendered = server.directory / "rendered"
    rendered.write_text('image: localhost/slipway:test\nREDIS_URL: "redis://redis:6379/5"\n')
    assert "redis does not resolve in a pod" in server.run("check-redis.sh", str(rendered), fails=True)
    left = server.json("get", "pods,networkpolicies")["items"]
    assert "slipway-redis-check" not in {each["metadata"]["name"] for each in left}


def test_uninstall_removes_the_route_and_leaves_n8n(docker: Docker, server: Server, client: httpx.Client) -> None:
    before = docker.firewall()
    with Poller(docker) as poller:
        server.run("uninstall.sh", "--yes")
    assert (poller.failures, poller.responses > 10) == ([], True)
    assert docker.firewall() == before
    assert list(docker.routes.iterdir()) == []
    until(lambda: client.get("/health").status_code == 404)


def _status(client: httpx.Client, path: str) -> int | None:
    try:
        return client.get(path).status_code
    except httpx.TransportError:  # Traefik has no certificate yet
        return None
