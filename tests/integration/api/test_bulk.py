"""Bulk items with their own key: the same key is the same run in single and bulk requests."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from launching.launcher import Launcher

OPTIONS: list[dict[str, Any]] = [
    {"pipeline": "hello"},
    {
        "pipeline": "hello",
        "profile_ref": "senior",
        "params": {"b": True, "a": 1.5},
        "priority": 2,
        "timeout_seconds": 60,
    },
]


def item(job_id: str, key: str) -> dict[str, str]:
    return {"job_id": job_id, "idempotency_key": key}


def single(launcher: Launcher, job_id: str, key: str, **options: Any) -> httpx.Response:
    return launcher.client.post("/jobs/run", json={"job_id": job_id, **options}, headers={"Idempotency-Key": key})


def bulk(launcher: Launcher, items: list[Any], header: str | None = None, **options: Any) -> list[dict[str, Any]]:
    headers = {"Idempotency-Key": header} if header else {}
    answer = launcher.client.post("/jobs/run-bulk", json={"job_ids": items, **options}, headers=headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["runs"]
    return results


def total(launcher: Launcher, job_id: str) -> int:
    found: int = launcher.client.get("/jobs", params={"job_id": job_id}).json()["total"]
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "with every option"])
@pytest.mark.parametrize("header", [None, "of all"])
def test_key_names_one_run_for_single_and_bulk_requests(
    launcher: Launcher, options: dict[str, Any], header: str | None
) -> None:
    name = f"{header}-{options.get('profile_ref')}".replace(" ", "-")
    one, two = f"one-{name}", f"two-{name}"
    finished = launcher.wait(single(launcher, one, f"k {one}", **options).json()["run_id"])
    both = [item(one, f"k {one}"), item(two, f"k {two}")]
    first = bulk(launcher, both, header, **options)
    assert first[0]["run"] == finished
    launcher.wait(first[1]["run_id"])
    assert single(launcher, two, f"k {two}", **options).json() == launcher.status(first[1]["run_id"])
    again = bulk(launcher, [*reversed(both), both[0]], **options)  # with or without a header, which does not matter
    assert [each["run_id"] for each in again] == [first[1]["run_id"], finished["run_id"], finished["run_id"]]
    assert [total(launcher, job_id) for job_id in (one, two)] == [1, 1]


def test_used_key_with_another_request_rejects_only_its_item(launcher: Launcher) -> None:
    single(launcher, "used", "used key", pipeline="hello")
    for items, options in (
        ([item("used", "used key"), "beside-1"], {"pipeline": "hello", "profile_ref": "senior"}),
        ([item("other", "used key"), item("beside-2", "k beside")], {"pipeline": "hello"}),
    ):
        refused, launched = bulk(launcher, items, **options)
        assert (refused["run_id"], refused["problem"]["status"]) == (None, 409)
        assert launched["run_id"] and launched["problem"] is None
    assert single(launcher, "beside-2", "k beside", pipeline="hello", priority=1).status_code == 409
    assert [total(launcher, job_id) for job_id in ("used", "other")] == [1, 0]


def test_different_keys_launch_different_runs_of_a_job(launcher: Launcher) -> None:
    items = [item("twice", "k1"), item("twice", "k2"), {"job_id": "twice"}, "twice"]
    results = bulk(launcher, items, "of all", pipeline="hello")
    assert [(each["problem"] or {}).get("status") for each in results] == [None, None, None, 409]
    assert len({each["run_id"] for each in results[:3]}) == total(launcher, "twice") == 3


def test_invalid_key_rejects_only_its_item(launcher: Launcher) -> None:
    bad, good = bulk(launcher, [item("bad", "x" * 256), item("good", "y" * 255)], pipeline="hello")
    assert bad["problem"]["status"] == 422 and "job_ids.0: idempotency_key" in bad["problem"]["detail"]
    assert good["run_id"] == single(launcher, "good", "y" * 255, pipeline="hello").json()["run_id"]


def test_items_refused_by_a_full_queue_are_launched_by_a_retry(narrow: Launcher) -> None:
    narrow.client.post("/queue/pause")
    items = [item(f"full-{n}", f"k{n}") for n in range(5)]
    first = bulk(narrow, items, pipeline="hello")
    assert [(each["problem"] or {}).get("status") for each in first] == [None, None, None, 429, 429]
    narrow.client.post("/queue/resume")
    for each in first[:3]:
        narrow.wait(each["run_id"])
    second = bulk(narrow, items, pipeline="hello")
    assert [each["run_id"] for each in second[:3]] == [each["run_id"] for each in first[:3]]
    assert [total(narrow, f"full-{n}") for n in range(5)] == [1] * 5


def test_concurrent_single_and_bulk_requests_launch_each_job_once(launcher: Launcher) -> None:
    jobs = [f"raced-{n}" for n in range(3)]
    run_ids: list[str] = []
    together = threading.Barrier(12)

    def launch(number: int) -> None:
        job = jobs[number % 3]
        together.wait()
        if number % 2:
            answers = bulk(launcher, [item(job, f"k {job}") for job in jobs], pipeline="hello")
        else:
            answers = [single(launcher, job, f"k {job}", pipeline="hello").json()]
        run_ids.extend(answer["run_id"] for answer in answers)

    threads = [threading.Thread(target=launch, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(run_ids) == 6 + 6 * 3 and len(set(run_ids)) == 3
    assert [total(launcher, job) for job in jobs] == [1, 1, 1]
