"""HTTPS as on k3s: real Traefik, configured by k8s/traefik.yaml, with a certificate from a test authority."""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from checkers import logs
from checkers.collecting import check_log, check_outcome
from checkers.findings import report
from checkers.log_history import LogHistory
from checkers.printing import command as printer
from checkers.queue import QueuedRun, QueueHistory, check
from cluster.cluster import Cluster
from cluster.runs import recorded, until
from cluster.scenario import process_posting
from cluster.viewers import Viewer
from launcher.cli.server_checks import certificate_finding
from launching.authority import make_certificate
from launching.edge import HOST, K3S_ARGUMENTS, RENEWED_HOST, RENEWING, Edge
from launching.observed_server import ObservedServer
from launching.release import TESTS_IMAGE, Release
from servers.forwarding import Forwarder
from servers.mongodb_server import MongodbServer

LINES, COMPARED_LINES = 2500, 300
TRAEFIK_READ_TIMEOUT_SECONDS = 60
SILENT_SECONDS, BRIEFLY_SILENT_SECONDS = 70, 8
SHORT_LIMITS = [
    f"--entryPoints.websecure.transport.respondingTimeouts.{name}=2s" for name in ("readTimeout", "idleTimeout")
]
PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"image": TESTS_IMAGE, "command": ["echo", "hello"], "artifacts": {}},
    "printer": {"image": TESTS_IMAGE, "command": printer(LINES, rate=100), "artifacts": {}},
    "compared": {"image": TESTS_IMAGE, "command": printer(COMPARED_LINES, rate=50), "artifacts": {}},
    **{
        name: {"image": TESTS_IMAGE, "command": ["sh", "-c", f"echo before; sleep {seconds}; echo after"]}
        for name, seconds in (("silent", SILENT_SECONDS), ("briefly-silent", BRIEFLY_SILENT_SECONDS))
    },
}


@pytest.fixture(scope="module")
def edge(cluster: Cluster) -> Iterator[Edge]:
    if not cluster.can_control:
        pytest.skip("The Services of this cluster may be unreachable from here, and its Traefik is not ours.")
    with Edge(cluster) as running:
        yield running


@pytest.fixture(scope="module")
def release(cluster: Cluster, edge: Edge, mongodb_server: MongodbServer) -> Iterator[Release]:
    mongodb_server.revive()
    with Forwarder(cluster.gateway, mongodb_server.port) as mongo:
        uri = f"mongodb://{mongo.host}:{mongo.port}/?directConnection=true"
        ingress = {"ingress": {"enabled": True, "host": HOST}}
        with Release(cluster, mongodb_uri=uri, pipelines=PIPELINES, values=ingress) as running:
            edge.wait_for_certificate()
            edge.wait_for_launcher()
            yield running


@pytest.fixture(scope="module")
def client(edge: Edge, release: Release) -> Iterator[httpx.Client]:
    with edge.client(release.headers) as client:
        yield client


class RemoteViewer(Viewer):
    """A viewer outside the cluster, who connects through Traefik."""

    def __init__(self, edge: Edge, release: Release, run_id: str) -> None:
        super().__init__(release, run_id)
        self._edge = edge

    def connect(self) -> httpx.Client:
        return self._edge.client({})


class Http2Viewer:
    """Follows a run over HTTP/2, as browsers do, and does not reconnect when the stream breaks."""

    def __init__(self, edge: Edge, release: Release, run_id: str) -> None:
        command = ["curl", "--silent", "--show-error", "--fail", "--no-buffer", "--http2", "--noproxy", "*"]
        command += ["--cacert", str(edge.root), "--resolve", f"{HOST}:443:{edge.address}", "--max-time", "120"]
        command += [
            "--retry",
            "20",
            "--retry-delay",
            "1",
            "--retry-connrefused",
        ]  # a pod that was just replaced refuses connections for a moment
        command += ["--header", f"Authorization: {release.headers['Authorization']}"]
        command += ["--write-out", "HTTP/%{http_version}", f"{edge.url}/jobs/{run_id}/logs"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def received(self) -> str:
        """Return the whole stream, once it has ended without an error."""
        out, err = self._process.communicate(timeout=150)
        assert self._process.returncode == 0, (out, err)
        return out


Silent = tuple[RemoteViewer, Http2Viewer]


@pytest.fixture(scope="module")
def silent(edge: Edge, release: Release, client: httpx.Client) -> Silent:
    """The viewers of a run that prints nothing for more than a minute; other tests run meanwhile."""
    return _follow(edge, release, _launch(client, "silent"))


@pytest.fixture(scope="module")
def brief(edge: Edge, release: Release) -> str:
    """The serial number of a certificate that Traefik renews within a minute; other tests run meanwhile."""
    ingress = release.json("get", "ingress", "slipway-launcher")
    resolver = {"traefik.ingress.kubernetes.io/router.tls.certresolver": RENEWING}
    ingress["metadata"] = {"name": "renewed", "annotations": {**ingress["metadata"]["annotations"], **resolver}}
    ingress["spec"] |= {"rules": [{**ingress["spec"]["rules"][0], "host": RENEWED_HOST}]}
    ingress["spec"] |= {"tls": [{"hosts": [RENEWED_HOST]}]}
    release.kubectl("apply", "--filename=-", input=json.dumps(ingress))
    serial: str = edge.wait_for_certificate(RENEWED_HOST)["serialNumber"]
    return serial


def test_posting_in_mongodb_becomes_a_cv_over_https(
    silent: Silent, brief: str, client: httpx.Client, mongodb_server: MongodbServer
) -> None:
    process_posting(client, mongodb_server)


def test_certificate_is_issued_by_the_authority_for_this_host(edge: Edge, release: Release) -> None:
    shown = edge.certificate()  # raises an error if the chain does not end at the authority's root
    assert ("DNS", HOST) in shown["subjectAltName"]
    assert "Pebble" in dict(part for [part] in shown["issuer"])["commonName"]


def test_doctor_tells_an_issued_certificate_from_traefiks_own(
    edge: Edge, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(edge.root))
    issued = certificate_finding(HOST, edge.address)
    assert issued.state == "ok" and "Pebble" in issued.found
    other = certificate_finding("other.example.test", edge.address)
    assert other.state == "fail" and "Traefik shows its own default certificate" in other.found


@pytest.mark.parametrize("path", ["/health", "/jobs?page=2", "/metrics", "/"])
def test_http_redirects_to_https(path: str, edge: Edge, release: Release) -> None:
    with edge.client({}, scheme="http") as plain:
        answer = plain.get(path)
    assert (answer.is_redirect, answer.headers["Location"]) == (True, f"https://{HOST}{path}")


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/docs", "/openapi.json", "/redoc", "/livez", "/readyz", "/"),
        *("//metrics", "/health/../metrics", "/health/%2e%2e/metrics", "/health/..%2fmetrics", "/METRICS"),
    ],
)
def test_internal_paths_are_not_found_from_outside(path: str, client: httpx.Client) -> None:
    assert client.get("/health").status_code == 200
    assert client.get(httpx.URL(scheme="https", host=HOST, raw_path=path.encode())).status_code == 404


def test_unknown_host_is_not_found(edge: Edge, client: httpx.Client) -> None:
    assert client.get("/health", headers={"Host": "other.example.test"}).status_code == 404


def test_stream_is_neither_buffered_nor_compressed(client: httpx.Client) -> None:
    run_id = _launch(client, "briefly-silent")
    headers = {"Accept-Encoding": "gzip, br, zstd, deflate"}
    with connect_sse(client, "GET", f"/jobs/{run_id}/logs", headers=headers) as stream:
        assert "Content-Encoding" not in stream.response.headers
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        events = stream.iter_sse()
        assert any(event.data == "before" for event in events)
        # It arrived while the run was still running, so nothing buffered it.
        assert client.get(f"/jobs/{run_id}/status").json()["status"] == "running"
        assert any(event.event == "end" for event in events)


def test_median_delay_of_a_line_through_traefik_is_under_100_ms(release: Release, client: httpx.Client) -> None:
    run_id = _launch(client, "compared")
    arrivals: dict[str, dict[str, float]] = {"traefik": {}, "direct": {}}

    def follow(http: httpx.Client, times: dict[str, float]) -> None:
        with connect_sse(http, "GET", f"/jobs/{run_id}/logs") as stream:
            for event in stream.iter_sse():
                if event.id:
                    times[event.id] = time.monotonic()

    routes = [(client, arrivals["traefik"]), (release.client, arrivals["direct"])]
    followers = [threading.Thread(target=follow, args=route, daemon=True) for route in routes]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join(60)
    assert arrivals["traefik"].keys() == arrivals["direct"].keys()
    delays = [arrivals["traefik"][line] - arrivals["direct"][line] for line in arrivals["direct"]]
    assert len(delays) > 200
    assert statistics.median(delays) < 0.1, f"{statistics.median(delays):.3f} s"


@pytest.mark.parametrize("declared", [True, False], ids=["with-content-length", "chunked"])
def test_oversized_body_is_rejected_with_a_problem(declared: bool, client: httpx.Client) -> None:
    chunks = [b"x" * (1 << 20)] * 64
    answer = client.post("/jobs/run", content=b"".join(chunks) if declared else iter(chunks))
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert "larger than" in answer.json()["detail"]


def test_access_log_omits_query_strings(edge: Edge, client: httpx.Client) -> None:
    run_id = _launch(client, "hello")
    ticket = client.post(f"/jobs/{run_id}/ticket").raise_for_status().json()["ticket"]
    path = f"/jobs/{run_id}/logs?ticket={ticket}"
    with edge.client({"Referer": edge.url + path}) as anonymous:
        body = anonymous.get(path).raise_for_status().content
    assert b"event: end" in body

    def entries_of_this_call() -> list[dict[str, Any]]:
        return [entry for entry in edge.access_log() if entry["DownstreamContentSize"] == len(body)]

    until(entries_of_this_call)
    [entry] = entries_of_this_call()
    assert (entry["RequestMethod"], entry["DownstreamStatus"], entry["RequestHost"]) == ("GET", 200, HOST)
    assert "ticket" not in edge.log() and ticket not in edge.log()


def test_silent_stream_stays_open(silent: Silent) -> None:
    assert SILENT_SECONDS > TRAEFIK_READ_TIMEOUT_SECONDS
    _check_unbroken(silent)


def test_certificate_is_renewed_before_it_expires(
    edge: Edge, release: Release, brief: str, client: httpx.Client, tmp_path: Path
) -> None:
    observed = ObservedServer(release.cluster, tmp_path)
    observed.namespace, observed.secret = release.namespace, release.secret
    observed.connect()
    with observed.watcher() as watcher:
        run_id = _launch(client, "compared")
        queued = QueuedRun(run_id=run_id, queued_at=0, queued=time.time())
        viewer = RemoteViewer(edge, release, run_id)
        viewer.start()
        until(lambda: edge.certificate(RENEWED_HOST)["serialNumber"] != brief, 75)
        observed.launcher.wait(run_id, seconds=60)
        until(lambda: recorded(observed, run_id))
        viewer.join(60)
        findings = check(QueueHistory(limit=3, runs=[queued], **vars(watcher.watched())))
    findings += check_log(observed, run_id, COMPARED_LINES, streams=[viewer.events]) + check_outcome(observed, run_id)
    observed.launcher.client.close()
    assert not findings, report(findings)
    release.kubectl("delete", "ingress", "renewed")


def test_viewers_miss_no_line_when_the_launcher_is_replaced(edge: Edge, release: Release, client: httpx.Client) -> None:
    run_id = _launch(client, "printer")
    viewers = [RemoteViewer(edge, release, run_id) for _ in range(3)]
    for viewer in viewers:
        viewer.start()
    until(lambda: all(len(viewer.events) > 50 for viewer in viewers))
    release.kubectl("rollout", "restart", "deployment/slipway-launcher")
    for viewer in viewers:
        viewer.join(120)
        assert viewer.ended and viewer.streams > 1
    release.cluster.wait_for_rollout("slipway-launcher", release.namespace)
    edge.wait_for_launcher()
    run = client.get(f"/jobs/{run_id}/status").json()
    kept = {"text": client.get(f"/jobs/{run_id}/log").content, "receipt": run["log"]}
    streams = [viewer.events for viewer in viewers]
    findings = logs.check(LogHistory(run_id=run_id, expected=LINES, streams=streams, **kept))
    assert not findings, report(findings)


def test_certificate_survives_a_restart_of_traefik(edge: Edge, release: Release, client: httpx.Client) -> None:
    before = edge.certificate()["serialNumber"]
    edge.restart()
    assert edge.wait_for_certificate()["serialNumber"] == before
    edge.wait_for_launcher()


def test_custom_certificate_and_redirect_work_without_k8s_traefik_yaml(
    edge: Edge, release: Release, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path, HOST)
    release.kubectl("create", "secret", "tls", "own-certificate", f"--cert={certificate}", f"--key={key}")
    release.upgrade(ingress={**release.values["ingress"], "certResolver": "", "tlsSecret": "own-certificate"})
    edge.configure([*K3S_ARGUMENTS, *SHORT_LIMITS])
    edge.trust_only(certificate)
    with edge.client(release.headers) as client, edge.client({}, scheme="http") as plain:
        edge.wait_for_launcher()
        until(lambda: plain.get("/health").is_redirect)  # the middleware comes from a different provider of Traefik
        assert plain.get("/health").headers["Location"] == f"{edge.url}/health"
        # The stream is silent for longer than Traefik's timeouts, which are short here.
        _check_unbroken(_follow(edge, release, _launch(client, "briefly-silent")))


def test_uninstall_removes_ingress_and_middleware(release: Release) -> None:
    kinds = "ingresses,middlewares.traefik.io"
    assert {each["kind"] for each in release.json("get", kinds)["items"]} == {"Ingress", "Middleware"}
    release.helm("uninstall", "slipway", "--wait", "--timeout=120s")
    assert release.json("get", kinds)["items"] == []


def _launch(client: httpx.Client, pipeline: str) -> str:
    answer = client.post("/jobs/run", json={"job_id": pipeline, "pipeline": pipeline})
    run_id: str = answer.raise_for_status().json()["run_id"]
    return run_id


def _follow(edge: Edge, release: Release, run_id: str) -> Silent:
    viewer = RemoteViewer(edge, release, run_id)
    viewer.start()
    return viewer, Http2Viewer(edge, release, run_id)


def _check_unbroken(followers: Silent) -> None:
    """Check that both viewers received `before`, `after` and the end, on one stream each."""
    viewer, http2 = followers
    received = http2.received()
    viewer.join(60)
    assert viewer.ended and viewer.streams == 1
    lines = [data for _, name, data in viewer.events if name == "message" and data]
    assert lines[-2:] == ["before", "after"]
    assert received.endswith("HTTP/2")
    assert received.index("data: before") < received.index("data: after") < received.index("event: end")
