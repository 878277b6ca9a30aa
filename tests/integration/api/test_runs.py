"""Runs over REST: launching, listing, cancelling, a full queue, repeated requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from launcher.domain.queue_places import waiting_for_slot
from launching.launcher import Launcher

from .conftest import make_launcher, release, until

PROBLEM = "application/problem+json"


def started_run(launcher: Launcher, job_id: str) -> str:
    """Launch a held run and wait until it prints."""
    run_id: str = launcher.run(job_id, pipeline="held")["run_id"]
    until(lambda: b"line 2" in launcher.log(run_id))
    return run_id


def listed(launcher: Launcher, **query: Any) -> list[str]:
    return [run["run_id"] for run in launcher.client.get("/jobs", params=query).json()["runs"]]


def test_running_and_queued_runs_show_their_state(narrow: Launcher) -> None:
    before = narrow.wait(narrow.run("w0", pipeline="hello")["run_id"])
    assert before["status"] == "completed"  # the queue now knows how long a run of `hello` takes
    running = started_run(narrow, "w1")
    waiting = narrow.run("w2", pipeline="hello", profile_ref="senior", priority=1)
    assert (waiting["status"], waiting["profile_ref"], waiting["pipeline"]) == ("queued", "senior", "hello")
    assert waiting["queue"]["position"] == 1
    assert waiting["queue"]["eta_seconds"] is not None
    assert waiting["queue"]["why"] == waiting_for_slot(0)
    assert [waiting[name] for name in ("started_at", "completed_at", "exit_code", "reason", "message")] == [None] * 5
    assert waiting["log"] == {"lines": 0, "bytes": 0, "complete": False, "gaps": []}
    now = narrow.status(running)
    assert (now["status"], now["queue"], now["completed_at"]) == ("running", None, None)
    health = narrow.client.get("/health").json()
    assert (health["active_runs"], health["max_concurrency"], health["queued"]) == (1, 1, 1)
    assert (health["status"], health["kubernetes"], health["operator"]) == ("healthy", "off", "off")  # neither is used
    release(narrow, "w1")
    assert narrow.wait(waiting["run_id"])["queue"] is None


def test_lists_are_filtered_by_each_field_and_all_fields(narrow: Launcher) -> None:
    done = narrow.wait(narrow.run("f1", pipeline="hello")["run_id"])["run_id"]
    running = started_run(narrow, "f1")
    queued = narrow.run("f1", pipeline="hello")["run_id"]
    other = narrow.run("f2", pipeline="held")["run_id"]
    assert listed(narrow, job_id="f1") == [queued, running, done]
    assert listed(narrow, job_id="f1", pipeline="hello") == [queued, done]
    assert listed(narrow, status="running") == [running]
    assert set(listed(narrow, status="queued")) == {queued, other}
    assert listed(narrow, job_id="f1", pipeline="hello", status="completed") == [done]
    for nothing in ({"job_id": "f"}, {"pipeline": "nope"}, {"job_id": "f1", "page": 2}, {"job_id": "' OR 1=1"}):
        assert listed(narrow, **nothing) == []


def test_every_run_is_on_exactly_one_page(launcher: Launcher) -> None:
    items = [f"p{n}" for n in range(7)]
    launched = launcher.client.post("/jobs/run-bulk", json={"job_ids": items, "pipeline": "hello"}).json()["run_ids"]
    for run_id in launched:
        launcher.wait(run_id)
    total = launcher.client.get("/jobs", params={"per_page": 1}).json()["total"]
    pages = [listed(launcher, per_page=3, page=page) for page in range(1, total // 3 + 2)]
    everything = [run_id for page in pages for run_id in page]
    assert len(everything) == len(set(everything)) == total
    assert everything[:7] == launched[::-1]


def test_cancelled_run_keeps_its_log(narrow: Launcher) -> None:
    run_id = started_run(narrow, "c1")
    answer = narrow.client.delete(f"/jobs/{run_id}")
    assert answer.status_code == 200
    assert answer.json()["run_id"] == run_id
    finished = narrow.wait(run_id)
    assert (finished["status"], finished["reason"], finished["log"]["complete"]) == ("cancelled", "Cancelled", True)
    assert narrow.log(run_id) == b"Starting pipeline held for job c1\nline 2\n"
    again = narrow.client.delete(f"/jobs/{run_id}")
    assert (again.status_code, again.json()) == (200, finished)
    until(lambda: narrow.client.get("/health").json()["active_runs"] == 0)


def test_cancelling_a_finished_run_changes_nothing(launcher: Launcher) -> None:
    finished = launcher.wait(launcher.run("c2", pipeline="hello")["run_id"])
    answer = launcher.client.delete(f"/jobs/{finished['run_id']}")
    assert (answer.status_code, answer.json()) == (200, finished)


def test_concurrent_cancels_give_one_outcome(narrow: Launcher) -> None:
    run_id = started_run(narrow, "c3")
    codes: list[int] = []

    def cancel() -> None:
        answer = httpx.delete(f"{narrow.url}/jobs/{run_id}", headers=narrow.headers, trust_env=False, timeout=30)
        codes.append(answer.status_code)

    together(cancel, 10)
    assert codes == [200] * 10
    assert narrow.wait(run_id)["status"] == "cancelled"
    assert [name for _, name, _ in narrow.events(run_id)].count("end") == 1


def test_full_queue_refuses_with_retry_after_until_it_has_room(narrow: Launcher) -> None:
    started_run(narrow, "q0")
    kept = [narrow.run(f"q{n}", pipeline="hello")["run_id"] for n in (1, 2, 3)]
    refused = narrow.client.post("/jobs/run", json={"job_id": "q4", "pipeline": "hello"})
    assert (refused.status_code, refused.headers["content-type"]) == (429, PROBLEM)
    assert int(refused.headers["retry-after"]) > 0
    assert "MAX_QUEUED" in refused.json()["detail"]
    assert listed(narrow, job_id="q4") == []
    release(narrow, "q0")
    for run_id in kept:
        assert narrow.wait(run_id)["status"] == "completed"
    assert narrow.wait(narrow.run("q4", pipeline="hello")["run_id"])["status"] == "completed"


def test_partly_refused_bulk_is_completed_by_a_retry(narrow: Launcher) -> None:
    narrow.client.post("/queue/pause")
    body = {"job_ids": [f"b{n}" for n in range(5)], "pipeline": "hello"}
    headers = {"Idempotency-Key": "partial bulk"}
    first = narrow.client.post("/jobs/run-bulk", json=body, headers=headers).json()
    assert [(item["problem"] or {}).get("status") for item in first["runs"]] == [None, None, None, 429, 429]
    assert (first["accepted"], first["refused"]) == (3, 2)
    narrow.client.post("/queue/resume")
    for run_id in first["run_ids"]:
        narrow.wait(run_id)
    second = narrow.client.post("/jobs/run-bulk", json=body, headers=headers).json()
    assert (second["accepted"], second["refused"]) == (5, 0)
    assert second["run_ids"][:3] == first["run_ids"]
    assert [item["job_id"] for item in second["runs"]] == body["job_ids"]
    for run_id in second["run_ids"]:
        assert narrow.wait(run_id)["status"] == "completed"
    assert [len(listed(narrow, job_id=job_id)) for job_id in body["job_ids"]] == [1] * 5


def test_bulk_items_are_limited(narrow: Launcher) -> None:
    most = narrow.client.post("/jobs/run-bulk", json={"job_ids": ["same"] * 6, "pipeline": "hello"})
    assert (most.status_code, most.json()["accepted"], most.json()["refused"]) == (200, 1, 5)
    over = narrow.client.post("/jobs/run-bulk", json={"job_ids": ["over"] * 7, "pipeline": "hello"})
    assert (over.status_code, over.headers["content-type"]) == (422, PROBLEM)
    assert "MAX_BULK_ITEMS" in over.json()["detail"]
    assert listed(narrow, job_id="over") == []


def test_invalid_options_reject_the_whole_bulk(narrow: Launcher) -> None:
    for wrong in ({"pipeline": "nope"}, {"priority": "high"}, {"timeout_seconds": 10**9}, {"jobids": ["1"]}):
        answer = narrow.client.post("/jobs/run-bulk", json={"job_ids": ["whole"], **wrong})
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
        assert next(iter(wrong)) in answer.json()["detail"]
    assert listed(narrow, job_id="whole") == []


def test_key_returns_the_same_run_while_the_run_exists(tmp_path: Path) -> None:
    def launch(body: dict[str, Any]) -> httpx.Response:
        return launcher.client.post("/jobs/run", json={"pipeline": "hello", **body}, headers={"Idempotency-Key": "k"})

    with make_launcher(tmp_path) as launcher:
        run_id = launch({"job_id": "k1"}).json()["run_id"]
        finished = launcher.wait(run_id)
        assert launch({"job_id": "k1"}).json() == finished
        launcher.kill()
        launcher.start()
        assert launch({"job_id": "k1"}).json() == finished
        for other in ({"job_id": "k2"}, {"job_id": "k1", "priority": 1}, {"job_id": "k1", "params": {"a": 1}}):
            conflict = launch(other)
            assert (conflict.status_code, conflict.headers["content-type"]) == (409, PROBLEM)
        assert listed(launcher) == [run_id]
        bulk = launcher.client.post(
            "/jobs/run-bulk", json={"job_ids": ["k1"], "pipeline": "hello"}, headers={"Idempotency-Key": "k"}
        )
        assert bulk.json()["accepted"] == 1  # the key of a bulk is a different one


def test_concurrent_bulks_launch_each_item_once(launcher: Launcher) -> None:
    answers: list[list[str]] = []

    def launch() -> None:
        answer = httpx.post(
            f"{launcher.url}/jobs/run-bulk",
            json={"job_ids": ["r1", "r2", "r3"], "pipeline": "hello"},
            headers={**launcher.headers, "Idempotency-Key": "race"},
            trust_env=False,
            timeout=30,
        )
        answers.append(answer.json()["run_ids"])

    together(launch, 10)
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)
    assert [len(listed(launcher, job_id=job_id)) for job_id in ("r1", "r2", "r3")] == [1, 1, 1]


def test_pause_affects_only_queued_runs_and_resume_keeps_their_order(narrow: Launcher) -> None:
    running = started_run(narrow, "o0")
    for _ in range(2):  # doing it twice makes no difference
        assert narrow.client.post("/queue/pause").json() == {"paused": True}
    release(narrow, "o0")
    assert narrow.wait(running)["status"] == "completed"
    low, high, late = (
        narrow.run(f"o{n}", pipeline="hello", priority=p)["run_id"] for n, p in ((1, -5), (2, 5), (3, -5))
    )
    assert [narrow.status(run_id)["queue"]["position"] for run_id in (high, low, late)] == [1, 2, 3]
    assert narrow.client.get("/health").json()["active_runs"] == 0
    for _ in range(2):
        assert narrow.client.post("/queue/resume").json() == {"paused": False}
    begins = [narrow.wait(run_id)["started_at"] for run_id in (high, low, late)]
    assert begins == sorted(begins)


@pytest.mark.parametrize("value", [True, 0, -1.5, "text", "", "求人", 2**53])
def test_params_reach_the_pipeline_unchanged(launcher: Launcher, value: Any) -> None:
    run_id = launcher.run("1", pipeline="parameters", params={"name": value})["run_id"]
    launcher.wait(run_id)
    printed = launcher.log(run_id).decode().splitlines()[1]
    assert httpx.Response(200, text=printed).json() == {"name": value}


def together(work: Callable[[], None], count: int) -> None:
    """Do the same in many threads at once."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
