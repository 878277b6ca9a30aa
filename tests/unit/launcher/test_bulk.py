from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.api.bulk import RejectedItem, ValidItem, parse_items
from launcher.api.launching import AT_ONCE, several_at_once
from launcher.api.runs import launch_items
from launcher.api.schemas import BulkRequest, LaunchOptions, RunRequest, request_hash
from launcher.domain.errors import ClusterUnavailable
from launcher.domain.runs import Run
from launcher.settings import Settings

OPTIONS: list[dict[str, Any]] = [
    {},
    {
        "profile_ref": "senior",
        "pipeline": "default",
        "params": {"a": 1, "b": True},
        "priority": 3,
        "timeout_seconds": 9,
    },
]


def keyed(key: Any, job_id: Any = "a") -> dict[str, Any]:
    return {"job_id": job_id, "idempotency_key": key}


def test_items_without_keys_use_the_requests_key_and_are_launched_once() -> None:
    one, two, again = parse_items(["a", {"job_id": "b"}, "a"], "k")
    assert (one, two) == (ValidItem("a", "k\na"), ValidItem("b", "k\nb"))
    assert isinstance(again, RejectedItem) and again.problem["status"] == 409
    assert parse_items(["a", keyed(None, "b")], None) == [ValidItem("a", None), ValidItem("b", None)]


def test_items_own_key_is_used_unchanged() -> None:
    requested = ["a", keyed("k1"), keyed("k1"), keyed("k2"), keyed("k1", "b")]
    own = [ValidItem("a", "k1"), ValidItem("a", "k1"), ValidItem("a", "k2"), ValidItem("b", "k1")]
    assert parse_items(requested, "k") == [ValidItem("a", "k\na"), *own]


@pytest.mark.parametrize("key", ["k", "k" * 255, "two words", '"quoted"', "~!"])
def test_key_can_be_any_header_value(key: str) -> None:
    assert parse_items([keyed(key)], None) == [ValidItem("a", key)]


@pytest.mark.parametrize("key", ["", "k" * 256, " k", "k ", "k\na", "k\r", "\0", "\x7f", "ä", "\ud800", 7, True, ["k"]])
def test_invalid_key_rejects_only_its_item_and_names_the_field(key: Any) -> None:
    bad, good = parse_items([keyed(key), "b"], None)
    assert isinstance(bad, RejectedItem) and (bad.job_id, bad.problem["status"]) == ("a", 422)
    assert bad.problem["detail"].startswith("job_ids.0: idempotency_key: ")
    assert good == ValidItem("b", None)


@pytest.mark.parametrize(
    "item", [{}, {"job_id": 7}, {"job_id": {"job_id": "a"}}, {"job_id": "a", "\ud800": 1}, {"x" * 999: 1}]
)
def test_invalid_item_is_rejected_with_a_short_message(item: dict[str, Any]) -> None:
    [rejected] = parse_items([item], "k")
    assert isinstance(rejected, RejectedItem) and rejected.problem["status"] == 422
    assert len(rejected.problem["detail"].encode()) < 1000


@pytest.mark.parametrize("options", OPTIONS)
def test_single_and_bulk_requests_for_the_same_run_have_the_same_hash(options: dict[str, Any]) -> None:
    def fingerprint(request: LaunchOptions, job_id: str) -> str:
        return request_hash(job_id, request.model_dump(include=set(LaunchOptions.model_fields)))

    single = fingerprint(RunRequest(job_id="a", **options), "a")
    assert {fingerprint(BulkRequest(job_ids=ids, **options), "a") for ids in (["a"], [keyed("k")])} == {single}
    assert fingerprint(RunRequest(job_id="a", **options | {"priority": 1}), "a") != single
    assert fingerprint(BulkRequest(job_ids=["b"], **options), "b") != single


def test_items_are_started_in_their_order_several_at_once() -> None:
    started: list[int] = []
    active = most = 0

    async def work(number: int) -> int:
        nonlocal active, most
        started.append(number)
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.001 * (number % 3))
        active -= 1
        return -number

    assert asyncio.run(several_at_once(work, range(100))) == [-number for number in range(100)]
    assert started == list(range(100))
    assert most == AT_ONCE


def test_an_unexpected_error_stops_the_other_items() -> None:
    started: list[int] = []

    async def work(number: int) -> None:
        started.append(number)
        await asyncio.sleep(0)
        if number == 20:
            raise OSError(28, "No space left on device")

    async def scenario() -> None:
        with pytest.raises(OSError):
            await several_at_once(work, range(1000))

    asyncio.run(scenario())
    assert len(started) < 100


def test_items_after_an_outage_of_kubernetes_are_refused_without_a_call() -> None:
    calls: list[str] = []

    class Engine:
        async def submit(self, run: Run) -> Run:
            calls.append(run.job_id)
            await asyncio.sleep(0)
            if len(calls) > 5:
                raise ClusterUnavailable
            return run

    settings = Settings.from_environment({"RUNNER_API_SECRET": "0123456789abcdef" * 2})
    services: Any = SimpleNamespace(settings=settings, engine=Engine())
    items = parse_items([str(number) for number in range(500)], None)
    results = asyncio.run(launch_items(services, LaunchOptions(), items))
    assert calls == [str(number) for number in range(len(calls))] and len(calls) < 5 + 2 * AT_ONCE
    refused = [result for result in results if isinstance(result, RejectedItem)]
    assert [result.job_id for result in refused] == [str(number) for number in range(500 - len(refused), 500)]
    assert {result.problem["status"] for result in refused} == {503}
