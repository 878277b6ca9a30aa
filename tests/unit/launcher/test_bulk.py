from __future__ import annotations

from typing import Any

import pytest

from launcher.api.bulk import RejectedItem, ValidItem, parse_items
from launcher.api.schemas import BulkRequest, LaunchOptions, RunRequest, request_hash

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
