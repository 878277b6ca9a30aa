"""The seed's own test cases, against the running launcher and the real pipeline; tokens where its rules want them."""

from __future__ import annotations

import time

import pytest

from launching.launcher import Launcher


def test_health_check(launcher: Launcher) -> None:
    response = launcher.client.get("/health", headers={"Authorization": ""})
    assert response.status_code == 200
    assert response.json()["status"] == "healthy"
    assert {"active_runs", "max_concurrency"} <= response.json().keys()


def test_run_job_requires_auth(launcher: Launcher) -> None:
    response = launcher.client.post("/jobs/run", json={"job_id": "123"}, headers={"Authorization": ""})
    assert response.status_code == 401


def test_run_job_with_auth(launcher: Launcher) -> None:
    response = launcher.client.post("/jobs/run", json={"job_id": "4711"}, headers=launcher.headers)
    assert response.status_code == 200
    assert "run_id" in response.json()


@pytest.fixture
def completed_run(launcher: Launcher) -> str:
    run = launcher.wait(launcher.run("4711")["run_id"])
    return str(run["run_id"])


def test_status_endpoint(launcher: Launcher, completed_run: str) -> None:
    response = launcher.client.get(f"/jobs/{completed_run}/status")
    assert response.status_code == 200
    assert response.json()["status"] == "completed"


def test_log_streaming(launcher: Launcher) -> None:
    running_job = launcher.run("4712")["run_id"]
    with launcher.client.stream("GET", f"/jobs/{running_job}/logs") as response:
        lines = list(response.iter_lines())
        assert any("Starting pipeline" in line for line in lines)


def test_full_pipeline_smoke(launcher: Launcher) -> None:
    run_id = launcher.client.post("/jobs/run", json={"job_id": "4713", "profile_ref": "senior"}).json()["run_id"]
    deadline = time.monotonic() + 60
    while (status := launcher.client.get(f"/jobs/{run_id}/status").json())["status"] not in {"completed", "failed"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status["status"] == "completed"
    assert set(status["artifacts"]) == {"cv_md_url", "cv_docx_url", "cover_letter_url", "dossier_url"}
    for url in status["artifacts"].values():
        artifact = launcher.client.get(url)
        assert artifact.status_code == 200
        assert artifact.content
    assert launcher.client.get(status["artifacts"]["cv_md_url"]).text.startswith("# ")


def test_a_posting_that_does_not_exist_has_an_exit_code_and_a_reason_of_its_own(launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("no-such-posting")["run_id"])
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "PostingNotFound", 3)
    assert run["message"].startswith("Posting not found.")
    assert "no-such-posting" in launcher.log(run["run_id"]).decode().splitlines()[-1]
