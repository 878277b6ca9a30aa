"""Malformed requests: each is answered with a problem, and none causes a server error."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from pymongo import MongoClient

from launching.launcher import Launcher

from .conftest import make_launcher, until

PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}


def raw(launcher: Launcher, request: bytes) -> tuple[int, bytes]:
    """Send raw bytes; return the status and the complete response."""
    address = urlsplit(launcher.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while block := connection.recv(65536):
                answer += block
        except ConnectionResetError:  # it closed the connection before reading everything
            pass
    return int(answer.split(b" ", 2)[1]), answer


def get_raw(launcher: Launcher, path: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    lines.append(b"Authorization: Bearer " + launcher.secret.encode())
    return raw(launcher, b"\r\n".join(lines) + b"\r\n\r\n")


@pytest.mark.parametrize(
    "item",
    [
        '"\\ud800"',
        '{"\\udfff": "\\ud800"}',
        "NaN",
        "-Infinity",
        "1e400",
        "9" * 4000,
        "[" * 200 + "]" * 200,
        "[" * 500 + "]" * 500,
        '{"a":' * 500 + "1" + "}" * 500,
        '"' + "x" * 100_000 + '"',
        "null",
        "true",
    ],
    ids=[
        "lone surrogate",
        "lone surrogates inside text",
        "not a number",
        "infinite",
        "too large",
        "4000 digits",
        "200 deep",
        "500 deep",
        "500 deep in objects",
        "100 kB",
        "null",
        "true",
    ],
)
def test_invalid_bulk_item_rejects_only_itself(launcher: Launcher, item: str) -> None:
    body = f'{{"job_ids": ["good", {item}], "pipeline": "hello"}}'.encode()
    answer = launcher.client.post("/jobs/run-bulk", content=body, headers={**JSON, "Connection": "close"})
    assert answer.status_code == 200, answer.text
    good, bad = answer.json()["runs"]
    assert good["status"] in ("queued", "running")
    assert (bad["run_id"], bad["problem"]["status"]) == (None, 422)
    assert bad["problem"]["detail"].startswith("job_ids.1: ")
    assert len(answer.content) < 10_000  # the refused item is not sent back in full


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_params_must_be_json_numbers(launcher: Launcher, value: str) -> None:
    body = f'{{"job_id": "1", "pipeline": "parameters", "params": {{"a": {value}}}}}'.encode()
    answer = launcher.client.post("/jobs/run", content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert "params" in answer.json()["detail"]


def test_integers_beyond_mongodbs_range_do_not_block_records(tmp_path: Path, mongodb_uri: str) -> None:
    with (
        make_launcher(tmp_path, MONGODB_URI=mongodb_uri) as launcher,
        MongoClient[dict[str, Any]](mongodb_uri) as mongo,
    ):
        runs = mongo["jobs"]["pipeline_runs"]
        until(lambda: launcher.client.get("/health").json()["mongodb"] == "ok")
        for value in (2**63, -(10**30)):
            body = {"job_id": "big", "pipeline": "hello", "params": {"n": value}}
            assert launcher.client.post("/jobs/run", json=body).status_code in (200, 422)
        run_id = launcher.wait(launcher.run("after", pipeline="hello")["run_id"])["run_id"]
        until(lambda: (runs.find_one({"_id": run_id}) or {}).get("status") == "completed")
        until(lambda: launcher.client.get("/health").json()["records_owed"] == 0)


def test_params_too_large_for_an_environment_variable_are_refused(launcher: Launcher) -> None:
    body = {"job_id": "1", "pipeline": "hello", "params": {f"p{n}": "求" * 4096 for n in range(50)}}
    answer = launcher.client.post("/jobs/run", json=body)  # Linux allows 128 KiB per variable
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert "params" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"job_id": "\\ud800"}',
        b'{"job_id": "1", "\\ud800": 1}',
        b'{"job_id": "1", "params": {"\\ud800": 1}}',
        b'{"job_id": "1", "params": {"a": "\\udc00"}}',
        b'{"job_id": "1", "pipeline": "\\ud800"}',
        b'{"job_id": "1", "pipeline": "\\u0000"}',
        b'{"job_id": "1", "profile_ref": "\\ud800"}',
        b'{"job_id": "1", "profile_ref": "a\\n"}',
        b'{"job_id": "1", "priority": ' + b"9" * 5000 + b"}",
        b'{"job_id": "1", "timeout_seconds": 1e3}',
        b'{"job_id": "1", "priority": true}',
        b'{"job_id": "1", "params": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"job_id": "1", "params": null}',
        b'{"job_id": "1", "params": {"a": null}}',
        json.dumps({"job_id": "1", "params": {f"p{n}": n for n in range(51)}}).encode(),
        json.dumps({"job_id": "1", "params": {"a" * 65: 1}}).encode(),
        json.dumps({"job_id": "1", "params": {"a": "x" * 4097}}).encode(),
        json.dumps({"job_id": "1", "pipeline": "x" * 65}).encode(),
        json.dumps({f"unknown{n}": 1 for n in range(10_000)}).encode(),
        '{"job_id": "é"}'.encode("latin-1"),
        b'{"job_id": "1"} {"job_id": "2"}',
        b"{'job_id': '1'}",
        b"job_id=1",
    ],
)
def test_malformed_body_is_answered_with_a_problem(launcher: Launcher, body: bytes) -> None:
    answer = launcher.client.post("/jobs/run", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    assert len(answer.content) < 50_000


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", ""],
)
def test_only_json_bodies_are_accepted(launcher: Launcher, media_type: str) -> None:
    body = b'{"job_id": "form", "pipeline": "hello"}'
    answer = launcher.client.post("/jobs/run", content=body, headers={"Content-Type": media_type})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert launcher.client.get("/jobs", params={"job_id": "form"}).json()["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        "page=" + "9" * 5000,
        "per_page=0",
        "per_page=501",
        "status=",
        "status=done",
        "job_id=" + "x" * 201,
        "pipeline=" + "x" * 65,
    ],
)
def test_invalid_query_parameter_is_refused_by_name(launcher: Launcher, query: str) -> None:
    answer = launcher.client.get(f"/jobs?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert query.split("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 5000, ""])
def test_invalid_after_is_refused(launcher: Launcher, after: str) -> None:
    run_id = launcher.run("1", pipeline="hello")["run_id"]
    answer = launcher.client.get(f"/jobs/{run_id}/logs?after={after}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/jobs/run", "POST"),
        ("GET", "/jobs/run-bulk", "POST"),
        ("PUT", "/jobs/run", "POST"),
        ("POST", "/jobs", "GET"),
        ("DELETE", "/jobs", "GET"),
        ("GET", "/jobs/some-run", "DELETE"),
        ("PATCH", "/jobs/some-run", "DELETE"),
        ("DELETE", "/jobs/some-run/status", "GET"),
        ("POST", "/jobs/some-run/logs", "GET"),
        ("GET", "/jobs/some-run/ticket", "POST"),
        ("PUT", "/artifacts/some-run/CV.md", "GET"),
        ("GET", "/queue/pause", "POST"),
        ("POST", "/health", "GET"),
        ("TRACE", "/jobs", "GET"),
    ],
)
def test_wrong_method_is_answered_with_allow(launcher: Launcher, method: str, path: str, allowed: str) -> None:
    answer = launcher.client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (405, PROBLEM)
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    ["/", "/jobs/", "//jobs", "/jobs/run/", "/jobs/x/status/", "/JOBS", "/jobs/x", "/jobs/x/nope", "/artifacts"]
    + ["/artifacts/x", "/queue", "/.env", "/static/../.env", "/jobs/../jobs", "/jobs/%2e%2e/%2e%2e/etc/passwd/status"]
    + [f"/jobs/{run_id}/status" for run_id in ("%00", "%ff", "a%0d%0aX-Forged:%201", "x" * 64, "a_b", "-a", "a-", "A")]
    + [f"/artifacts/{run_id}/CV.md" for run_id in ("..", "%2e%2e", ".", "%2f", "x" * 300, "UPPER")],
)
def test_unknown_paths_are_not_found(launcher: Launcher, path: str) -> None:
    status, answer = get_raw(launcher, path.encode())
    assert status in (404, 405)
    head = answer.split(b"\r\n\r\n")[0].lower()
    assert PROBLEM.encode() in head
    assert b"x-forged" not in head


@pytest.mark.parametrize(
    "request_",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /jobs/\xff/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
        b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nGET ",
        b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    ],
    ids=lambda request: repr(request[:40]),
)
def test_malformed_http_is_refused_and_others_are_served(launcher: Launcher, request_: bytes) -> None:
    status, _ = raw(launcher, request_)
    assert 400 <= status < 500
    assert httpx.get(f"{launcher.url}/livez", trust_env=False).status_code == 200


def test_endless_header_is_disconnected(launcher: Launcher) -> None:
    address = urlsplit(launcher.url)
    sent = 0
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nEndless: ")
        try:
            while sent < 16 << 20:
                sent += connection.send(b"a" * 65536)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 16 << 20  # the kernel buffers a few blocks


def test_disconnect_during_a_request_is_harmless(launcher: Launcher) -> None:
    address = urlsplit(launcher.url)
    before = launcher.client.get("/jobs").json()["total"]
    for half in (b"POST /jobs/run HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"GET /heal", b""):
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
            connection.sendall(half)
    assert launcher.client.get("/jobs").json()["total"] == before


@pytest.fixture(scope="module")
def named(launcher: Launcher) -> dict[str, Any]:
    return launcher.wait(launcher.run("1", pipeline="names")["run_id"])


def test_artifact_urls_work_for_any_file_name(launcher: Launcher, named: dict[str, Any]) -> None:
    names = {"odd_url": "Über #1?.txt", "percent_url": "50%25.txt", "spaced_url": "a b&c=d.md"}
    assert set(named["artifacts"]) == set(names)
    for key, name in names.items():
        answer = launcher.client.get(named["artifacts"][key])
        assert (answer.status_code, answer.text) == (200, name)
        assert answer.headers["content-disposition"].startswith("attachment; filename")


def test_non_files_are_not_artifacts(launcher: Launcher, named: dict[str, Any]) -> None:
    for name in ("pipe", ".", "", "%20", "run.json", "log"):  # a pipe would block its reader forever
        status, answer = get_raw(launcher, f"/artifacts/{named['run_id']}/{name}".encode())
        assert (status, PROBLEM.encode() in answer) == (404, True)


@pytest.mark.parametrize(
    "name", ["../../{}/archive", "../../archive/{}/run.json", "../../archive/{}/log", "../../launcher.log"]
)
def test_launchers_own_files_are_not_served(launcher: Launcher, named: dict[str, Any], name: str) -> None:
    for path in (name, quote(name, safe="{}"), quote(quote(name, safe="{}"), safe="{}%")):
        status, answer = get_raw(launcher, f"/artifacts/{named['run_id']}/{path.format(named['run_id'])}".encode())
        assert status in (403, 404)
        assert b"Slipway serves" not in answer


@pytest.mark.parametrize(
    ("requested", "status"),
    [
        ("bytes=0-1", 206),
        ("bytes=-1", 206),
        ("bytes=99-", 416),
        ("bytes=0-0,2-2", 200),
        ("bytes=x", 200),
        ("lines=1", 200),
    ],
)
def test_range_of_an_artifact_is_served(launcher: Launcher, named: dict[str, Any], requested: str, status: int) -> None:
    url = f"/artifacts/{named['run_id']}/{quote('a b&c=d.md')}"
    assert launcher.client.get(url, headers={"Range": requested}).status_code == status


def test_no_refusal_was_logged_as_an_error(launcher: Launcher) -> None:
    assert launcher.client.get("/readyz").status_code == 200
    printed = (launcher.directory / "launcher.log").read_text(errors="replace")
    assert "Traceback" not in printed, printed[-4000:]
    metrics = launcher.client.get("/metrics").text
    assert not [line for line in metrics.splitlines() if 'status="5' in line and "_count" in line]
