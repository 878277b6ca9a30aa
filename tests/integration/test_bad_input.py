"""Invalid and malicious requests: each gets a clear answer, and never a 500."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from launching.launcher import Launcher, LauncherError
from launching.service_process import ROOT, START_SECONDS

PROBLEM = "application/problem+json"


def post(launcher: Launcher, body: Any) -> Any:
    return launcher.client.post("/jobs/run", json=body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "job_id"),
        ({"job_id": ""}, "job_id"),
        ({"job_id": " 4711"}, "job_id"),
        ({"job_id": "x" * 201}, "job_id"),
        ({"job_id": 4711}, "job_id"),
        ({"job_id": None}, "job_id"),
        ({"job_id": ["4711"]}, "job_id"),
        ({"job_id": "a\nb"}, "job_id"),
        ({"job_id": "a\x00b"}, "job_id"),
        ({"job_id": "a\u202eb"}, "job_id"),
        ({"job_id": "--help"}, "job_id"),
        ({"job_id": "1", "profile_ref": "../../etc"}, "profile_ref"),
        ({"job_id": "1", "profile_ref": "-x"}, "profile_ref"),
        ({"job_id": "1", "priority": "high"}, "priority"),
        ({"job_id": "1", "priority": 101}, "priority"),
        ({"job_id": "1", "timeout_seconds": 0}, "timeout_seconds"),
        ({"job_id": "1", "timeout_seconds": 10**9}, "timeout_seconds"),
        ({"job_id": "1", "timeout_seconds": 1.5}, "timeout_seconds"),
        ({"job_id": "1", "params": {"a b": 1}}, "params"),
        ({"job_id": "1", "params": {"a": {"deep": 1}}}, "params"),
        ({"job_id": "1", "pipeline": "nope"}, "pipeline"),
        ({"job_id": "1", "jobid": "2"}, "jobid"),
        ([], "body"),
        ("text", "body"),
    ],
)
def test_invalid_body_is_refused_with_its_field(launcher: Launcher, body: Any, field: str) -> None:
    answer = post(launcher, body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert field in answer.json()["detail"]


def test_unknown_pipeline_is_refused_with_the_available_ones(launcher: Launcher) -> None:
    assert "default, files, hello" in post(launcher, {"job_id": "1", "pipeline": "nope"}).json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"nul", b'{"job_id": NaN}', b"[" * 5000])
def test_invalid_json_is_refused(launcher: Launcher, body: bytes) -> None:
    answer = launcher.client.post("/jobs/run", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == PROBLEM


def test_huge_body_is_refused(launcher: Launcher) -> None:
    assert post(launcher, {"job_id": "x" * (2 << 20)}).status_code == 413
    assert launcher.client.post("/jobs/run", content=iter([b"x" * (1 << 16)] * 40)).status_code == 413


@pytest.mark.parametrize("job_id", ["求人-42", "Ünï cödé", "a/b", "..", "{profile}", "$(id)", "x" * 200, "🚢"])
def test_printable_job_id_is_used_unchanged(launcher: Launcher, job_id: str) -> None:
    run = launcher.wait(launcher.run(job_id, pipeline="hello")["run_id"])
    assert (run["status"], run["job_id"]) == ("completed", job_id)
    assert f"for job {job_id}".encode() in launcher.log(run["run_id"])


def test_too_many_bulk_items_are_refused(launcher: Launcher) -> None:
    answer = launcher.client.post("/jobs/run-bulk", json={"job_ids": [str(n) for n in range(10_000)]})
    assert answer.status_code == 422
    assert "10000 items" in answer.json()["detail"]
    assert launcher.client.post("/jobs/run-bulk", json={"job_ids": []}).status_code == 422
    assert launcher.client.post("/jobs/run-bulk", json={"job_ids": "4711"}).status_code == 422


def test_bulk_item_has_its_own_result(launcher: Launcher) -> None:
    body = {"job_ids": ["b1", "", 7, "b1", "b2"], "pipeline": "hello"}
    answer = launcher.client.post("/jobs/run-bulk", json=body).json()
    assert [item.get("problem") and item["problem"]["status"] for item in answer["runs"]] == [None, 422, 422, 409, None]
    assert (answer["accepted"], answer["refused"], len(answer["run_ids"])) == (2, 3, 2)


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/nope/status",
        "/jobs/nope/logs",
        "/jobs/nope/log",
        "/jobs/%2e%2e/status",
        "/jobs/UPPER/status",
        f"/jobs/{'x' * 300}/status",
        "/artifacts/nope/CV.md",
        "/nope",
    ],
)
def test_unknown_run_or_artifact_is_not_found(launcher: Launcher, path: str) -> None:
    answer = launcher.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)
    assert launcher.client.delete("/jobs/nope").status_code == 404
    assert launcher.client.post("/jobs/nope/ticket").status_code == 404
    assert launcher.client.put("/jobs/run").status_code == 405


@pytest.fixture(scope="module")
def files(launcher: Launcher) -> str:
    run = launcher.wait(launcher.run("1", pipeline="files")["run_id"])
    assert run["artifacts"] == {"out_url": f"/artifacts/{run['run_id']}/out.txt"}  # never the target of a link
    return str(run["run_id"])


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("out.txt", 200),
        ("a/b/out.txt", 200),
        ("a/../a/b/out.txt", 200),
        ("missing.txt", 404),
        ("a", 404),
        ("", 404),
        ("x" * 5000, 404),
        ("loop", 404),
        ("../../../etc/passwd", 403),
        ("..%2f..%2f..%2fetc%2fpasswd", 403),
        ("%2e%2e/%2e%2e/etc/passwd", 403),
        ("/etc/passwd", 403),
        ("%2fetc%2fpasswd", 403),
        ("link.txt", 404),
        ("etc/passwd", 404),
        ("out.txt%00", 403),
        ("%00", 403),
    ],
)
def test_no_path_escapes_the_artifacts_folder(launcher: Launcher, files: str, name: str, status: int) -> None:
    raw = http.client.HTTPConnection(urlsplit(launcher.url).netloc, timeout=10)  # does not normalize paths
    with contextlib.closing(raw) as connection:
        connection.request("GET", f"/artifacts/{files}/{name}", headers=launcher.headers)
        answer = connection.getresponse()
        assert answer.status == status
        if status == 200:
            assert (answer.read(), answer.headers["X-Content-Type-Options"]) == (b"x", "nosniff")


@pytest.mark.parametrize(
    "credential", ["", "Bearer", "Bearer x", "Basic x", "Bearer " + "x" * 20_000, "Bearer ..", "x"]
)
def test_invalid_credential_reveals_nothing(launcher: Launcher, credential: str) -> None:
    calls = [("POST", "/jobs/run"), ("POST", "/jobs/run-bulk"), ("GET", "/jobs"), ("GET", "/jobs/x/status")]
    calls += [("GET", "/jobs/x/logs"), ("GET", "/jobs/x/log"), ("GET", "/artifacts/x/y"), ("DELETE", "/jobs/x")]
    calls += [("POST", "/jobs/x/ticket"), ("POST", "/queue/pause"), ("POST", "/queue/resume")]
    for method, path in calls:
        body = {"json": {"job_id": "1", "job_ids": ["1"]}} if path.startswith("/jobs/run") else {}
        answer = launcher.client.request(method, path, headers={"Authorization": credential}, **body)  # type: ignore[arg-type]
        assert answer.status_code in (401, 431, 400), (method, path)
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == PROBLEM


def test_launcher_does_not_start_without_a_strong_secret(tmp_path: Path) -> None:
    for secret in (None, "", "short", "x" * 64):
        launcher = Launcher(tmp_path, RUNNER_API_SECRET=secret)
        with pytest.raises(LauncherError, match=r"RUNNER_API_SECRET.*openssl rand -hex 32"):
            launcher.start()
        assert launcher.process is not None
        assert launcher.process.returncode in (2, -9)
        launcher.client.close()


def test_occupied_port_is_reported_in_one_line(launcher: Launcher, tmp_path: Path) -> None:
    environment = Launcher(tmp_path, PORT=launcher.environment["PORT"])
    environment.client.close()
    command = [sys.executable, "-m", "launcher.main", "serve"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment.environment,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Address already in use" in done.stderr


def test_second_launcher_cannot_use_the_same_archive(launcher: Launcher) -> None:
    second = Launcher(launcher.directory, PORT="0")
    with pytest.raises(LauncherError, match=r"Another process writes to .*ARCHIVE_DIR"):
        second.start()
    second.client.close()
