"""The REST contract, route by route, against a running launcher."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import time as datetime_time
from pathlib import Path
from typing import Any

import httpx
import pytest

from launcher.api.auth import Authenticator, Scope
from launcher.domain.days import NOT_A_TIME_ZONE
from launcher.domain.queue_places import PAUSED
from launching.launcher import Launcher, LauncherError

FIELDS = (
    "run_id job_id profile_ref pipeline status reason message exit_code created_at started_at completed_at updated_at"
    " queue artifacts log"
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_run_has_every_field_of_the_contract(launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("1", pipeline="hello")["run_id"])
    assert sorted(run) == sorted(FIELDS.split())
    assert run["log"] == {"lines": 2, "bytes": len(launcher.log(run["run_id"])), "complete": True, "gaps": []}
    assert run["created_at"] <= run["started_at"] <= run["completed_at"]
    assert all(run[name].endswith("Z") for name in ("created_at", "started_at", "completed_at", "updated_at"))
    assert run["run_id"].startswith("1-")


def test_runs_are_listed_newest_first_by_filter_and_page(launcher: Launcher) -> None:
    launched = [launcher.run("listed", pipeline="hello")["run_id"] for _ in range(5)]
    for run_id in launched:
        launcher.wait(run_id)
    found = launcher.client.get("/jobs", params={"job_id": "listed", "per_page": 2, "page": 2}).json()
    assert [run["run_id"] for run in found["runs"]] == launched[::-1][2:4]
    assert (found["total"], found["page"], found["per_page"]) == (5, 2, 2)
    empty = launcher.client.get("/jobs", params={"job_id": "listed", "status": "failed"}).json()
    assert empty["total"] == 0
    assert launcher.client.get("/jobs", params={"status": "nope"}).status_code == 422
    assert launcher.client.get("/jobs", params={"page": 0}).status_code == 422


def test_stats_count_every_run_by_day_and_status(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    today = datetime.now(UTC).date()

    def record(run_id: str, at: datetime, status: str) -> None:
        text = at.isoformat()
        run = {"run_id": run_id, "job_id": "4711", "status": status, "created_at": text, "updated_at": text}
        (archive / run_id).mkdir(parents=True)
        (archive / run_id / "run.json").write_text(json.dumps(run))

    for number in range(1665):
        noon = datetime.combine(today - timedelta(days=number % 14), datetime_time(12), UTC)
        record(f"many-{number}", noon, "failed" if number % 5 == 0 else "completed")
    record("older", datetime.combine(today - timedelta(days=14), datetime_time(12), UTC), "completed")
    with Launcher(tmp_path) as launcher:
        found = launcher.client.get("/jobs/stats").json()
        assert (found["tz"], found["total"], len(found["days"])) == ("UTC", 1665, 14)
        assert [day["date"] for day in found["days"]] == [str(today - timedelta(days=13 - n)) for n in range(14)]
        assert sum(day["counts"]["failed"] for day in found["days"]) == 333
        for back, day in enumerate(reversed(found["days"])):
            assert day["total"] == sum(day["counts"].values()) == len(range(back, 1665, 14))
        far = launcher.client.get("/jobs/stats", params={"days": 1, "tz": "Pacific/Kiritimati"}).json()
        assert far["days"][0]["date"] >= str(today)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"days": 0}, "days: "),
        ({"days": 367}, "days: "),
        ({"days": "many"}, "days: "),
        ({"tz": ""}, NOT_A_TIME_ZONE),
        ({"tz": "Europe"}, NOT_A_TIME_ZONE),
        ({"tz": "Europe/Nowhere"}, NOT_A_TIME_ZONE),
        ({"tz": "../../../etc/passwd"}, NOT_A_TIME_ZONE),
        ({"tz": "/etc/localtime"}, NOT_A_TIME_ZONE),
        ({"tz": "a\0b"}, NOT_A_TIME_ZONE),
        ({"tz": "x" * 100_00}, NOT_A_TIME_ZONE),
        ({"tz": "tzdata.zi"}, NOT_A_TIME_ZONE),
    ],
)
def test_invalid_days_or_time_zone_are_refused(launcher: Launcher, query: dict[str, Any], error: str) -> None:
    answer = launcher.client.get("/jobs/stats", params=query)
    assert answer.status_code == 422 and error in answer.json()["detail"]


def test_stats_is_not_a_run_id(launcher: Launcher) -> None:
    assert launcher.client.get("/jobs/stats", params={"days": 366}).status_code == 200
    for method, path in (("GET", "/jobs/stats/status"), ("GET", "/jobs/stats/log"), ("DELETE", "/jobs/stats")):
        assert launcher.client.request(method, path).status_code == 404
    assert launcher.client.post("/jobs/stats").status_code == 405
    run = launcher.wait(launcher.run("stats", pipeline="hello")["run_id"])
    assert run["run_id"].startswith("stats-") and launcher.status(run["run_id"]) == run


def test_repeated_request_returns_the_same_run(launcher: Launcher) -> None:
    answers: list[dict[str, Any]] = []

    def launch() -> None:
        body = {"job_id": "once", "pipeline": "hello"}
        answer = httpx.post(
            f"{launcher.url}/jobs/run",
            json=body,
            headers={**launcher.headers, "Idempotency-Key": "k-1"},
            trust_env=False,
        )
        answers.append(answer.json())

    threads = [threading.Thread(target=launch) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["run_id"] for answer in answers}) == 1
    other = launcher.client.post("/jobs/run", json={"job_id": "other"}, headers={"Idempotency-Key": "k-1"})
    assert other.status_code == 409
    too_long = launcher.client.post("/jobs/run", json={"job_id": "other"}, headers={"Idempotency-Key": "k" * 256})
    assert too_long.status_code == 422


def test_repeated_bulk_launches_the_rest(launcher: Launcher) -> None:
    def launch(*job_ids: str) -> list[str]:
        body = {"job_ids": list(job_ids), "pipeline": "hello"}
        answer = launcher.client.post("/jobs/run-bulk", json=body, headers={"Idempotency-Key": "bulk-1"})
        return list(answer.json()["run_ids"])

    first = launch("m1", "m2")
    second = launch("m1", "m2", "m3")
    assert second[:2] == first
    assert len(set(second)) == 3


def test_queued_runs_have_a_place_and_can_be_cancelled(launcher: Launcher) -> None:
    assert launcher.client.post("/queue/pause").json() == {"paused": True}
    try:
        first = launcher.run("1", pipeline="hello")
        second = launcher.run("2", pipeline="hello", priority=5)
        health = launcher.client.get("/health").json()
        assert (health["paused"], health["queued"]) == (True, 2)
        assert launcher.status(second["run_id"])["queue"]["position"] == 1
        place = launcher.status(first["run_id"])["queue"]
        assert (place["position"], place["why"]) == (2, PAUSED)
        cancelled = launcher.client.delete(f"/jobs/{second['run_id']}").json()
        assert (cancelled["status"], cancelled["started_at"], cancelled["exit_code"]) == ("cancelled", None, None)
        assert [name for _, name, _ in launcher.events(second["run_id"])] == ["status", "end"]
    finally:
        launcher.client.post("/queue/resume")
    assert launcher.wait(first["run_id"])["status"] == "completed"
    assert launcher.client.delete(f"/jobs/{first['run_id']}").json()["status"] == "completed"


def test_pause_survives_a_restart(tmp_path: Path) -> None:
    pipelines: dict[str, dict[str, Any]] = {"hello": {"command": ["python", "-c", "print(1)"]}}
    with Launcher(tmp_path, pipelines, MAX_QUEUED="2") as launcher:
        launcher.client.post("/queue/pause")
        run_id = launcher.run("1", pipeline="hello")["run_id"]
        launcher.stop()
        launcher.start()
        assert launcher.client.get("/health").json()["paused"]
        assert launcher.status(run_id)["status"] == "queued"
        launcher.run("2", pipeline="hello")
        full = launcher.client.post("/jobs/run", json={"job_id": "3"})
        assert (full.status_code, full.headers["retry-after"]) == (429, "10")
        launcher.client.post("/queue/resume")
        assert launcher.wait(run_id)["status"] == "completed"


def test_ticket_grants_only_its_run(launcher: Launcher) -> None:
    mine = launcher.run("1", pipeline="hello")["run_id"]
    other = launcher.run("2", pipeline="hello")["run_id"]
    answer = launcher.client.post(f"/jobs/{mine}/ticket").json()
    assert answer["expires_in_seconds"] == 600
    bare = {"Authorization": ""}
    stream = launcher.client.get(answer["logs_url"], headers=bare)
    assert stream.status_code == 200
    assert "event: end" in stream.text
    ticket = answer["ticket"]
    assert launcher.client.get(f"/jobs/{other}/logs", params={"ticket": ticket}, headers=bare).status_code == 401
    assert launcher.client.get(f"/jobs/{mine}/logs", params={"ticket": "x"}, headers=bare).status_code == 401
    assert launcher.client.get(f"/jobs/{mine}/log", params={"ticket": ticket}, headers=bare).status_code == 200
    for path in (f"/jobs/{mine}/status", "/jobs", f"/jobs/{mine}/request"):
        assert launcher.client.get(path, headers=bearer(ticket)).status_code == 403
        assert launcher.client.get(path, params={"ticket": ticket}, headers=bare).status_code == 401


@pytest.mark.parametrize(
    ("scopes", "method", "path", "status"),
    [
        ([Scope.READ], "GET", "/jobs", 200),
        ([Scope.READ], "POST", "/jobs/run", 403),
        ([Scope.RUN], "POST", "/jobs/run", 200),
        ([Scope.RUN], "GET", "/jobs", 403),
        ([Scope.READ], "GET", "/jobs/stats", 200),
        ([Scope.RUN, Scope.CANCEL], "GET", "/jobs/stats", 403),
        ([Scope.RUN, Scope.READ], "DELETE", "/jobs/nope", 403),
        ([Scope.CANCEL], "DELETE", "/jobs/nope", 404),
        ([Scope.CANCEL], "POST", "/queue/pause", 403),
        ([Scope.ADMIN], "POST", "/queue/resume", 200),
        ([Scope.ADMIN], "GET", "/jobs", 200),
        ([], "GET", "/jobs", 403),
    ],
)
def test_token_is_limited_to_its_scopes(
    launcher: Launcher, scopes: list[Scope], method: str, path: str, status: int
) -> None:
    token = Authenticator([launcher.secret]).token("someone", scopes, seconds=60)
    body = {"json": {"job_id": "1", "pipeline": "hello"}} if path == "/jobs/run" else {}
    assert launcher.client.request(method, path, headers=bearer(token), **body).status_code == status  # type: ignore[arg-type]


def test_previous_secret_is_valid_during_rotation(tmp_path: Path) -> None:
    old = "0123456789abcdef0123456789abcdef"
    with Launcher(tmp_path, RUNNER_API_SECRET_PREVIOUS=old) as launcher:
        assert launcher.client.get("/jobs", headers=bearer(old)).status_code == 200
        assert launcher.client.get("/jobs").status_code == 200
        token = Authenticator([old]).token("someone", [Scope.READ], seconds=60)
        assert launcher.client.get("/jobs", headers=bearer(token)).status_code == 200


def test_calls_are_limited_per_credential(tmp_path: Path) -> None:
    with Launcher(tmp_path, RATE_LIMIT_PER_MINUTE="20") as launcher:
        codes = [launcher.client.get("/jobs").status_code for _ in range(30)]
        assert (codes.count(200), codes[-1]) == (20, 429)
        token = Authenticator([launcher.secret]).token("another", [Scope.READ], seconds=60)
        assert launcher.client.get("/jobs", headers=bearer(token)).status_code == 200
        assert launcher.client.get("/health").status_code == 200


def test_configured_origins_are_allowed(launcher: Launcher) -> None:
    def preflight(origin: str) -> httpx.Response:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Authorization": ""}
        return launcher.client.options("/jobs/run", headers=headers)

    assert preflight("https://other.example.com").headers["access-control-allow-origin"] == "https://other.example.com"
    assert "access-control-allow-origin" not in preflight("https://evil.example.com").headers


def test_probes_metrics_and_documentation_are_served(launcher: Launcher) -> None:
    for path in ("/livez", "/readyz", "/docs"):
        assert launcher.client.get(path, headers={"Authorization": ""}).status_code == 200
    metrics = launcher.client.get("/metrics").text
    assert "slipway_runs_total{" in metrics
    assert "slipway_http_seconds_count{" in metrics
    assert launcher.secret not in metrics
    document = launcher.client.get("/openapi.json").json()
    assert document["components"]["schemas"]["RunView"]["examples"]
    assert document["components"]["schemas"]["RunRequest"]["examples"]
    assert "404" in document["paths"]["/jobs/{run_id}/status"]["get"]["responses"]


def test_stream_is_numbered_resumes_and_ends_with_the_run(launcher: Launcher) -> None:
    run_id = launcher.run("1", pipeline="progress")["run_id"]
    events = launcher.events(run_id)
    numbered = [(number, name) for number, name, _ in events if name in ("message", "progress")]
    assert numbered == [(str(n), "progress" if n % 2 == 0 else "message") for n in range(1, 8)]
    assert events[-1][1] == "end"
    with launcher.client.stream("GET", f"/jobs/{run_id}/logs", headers={"Last-Event-ID": "5"}) as answer:
        assert answer.headers["cache-control"].startswith("no-store")
        assert answer.headers["x-accel-buffering"] == "no"
        resumed = answer.read().decode()
    assert ("id: 5\n" in resumed, "id: 6\n" in resumed, "id: 7\n" in resumed) == (False, True, True)
    for after in (7, 10**12):
        assert [name for _, name, _ in launcher.events(run_id, after)] == ["status", "end"]
    odd = launcher.client.get(f"/jobs/{run_id}/logs", headers={"Last-Event-ID": "'; drop"})
    assert "id: 1\n" in odd.text


def test_streams_close_when_the_launcher_stops_and_clients_resume(tmp_path: Path) -> None:
    program = "import time\nfor n in range(3): print('line', n, flush=True)\ntime.sleep(60)"
    with Launcher(tmp_path, {"waits": {"command": ["python", "-c", program]}}) as launcher:
        run_id = launcher.run("1", pipeline="waits")["run_id"]
        seen: list[str] = []
        with launcher.client.stream("GET", f"/jobs/{run_id}/logs") as stream:
            lines = stream.iter_lines()
            while "data: line 2" not in seen:
                seen.append(next(lines))
            began = time.monotonic()
            stopper = threading.Thread(target=launcher.stop)
            stopper.start()
            assert not [line for line in lines if line.startswith("event: end")]
            assert time.monotonic() - began < 5
        stopper.join()
        launcher.start()
        rest = launcher.events(run_id, after=4)
        assert [name for _, name, _ in rest] == ["status", "end"]
        with pytest.raises(LauncherError):
            launcher.run("")
