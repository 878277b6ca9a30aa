from __future__ import annotations

from typing import Any

import pytest

from launcher.api.bulk import Refused, Wanted, items_of
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


def test_items_without_keys_share_the_requests_by_their_job_id_which_counts_once() -> None:
    one, two, again = items_of(["a", {"job_id": "b"}, "a"], "k")
    assert (one, two) == (Wanted("a", "k\na"), Wanted("b", "k\nb"))
    assert isinstance(again, Refused) and again.problem["status"] == 409
    assert items_of(["a", keyed(None, "b")], None) == [Wanted("a", None), Wanted("b", None)]


def test_an_items_own_key_counts_as_it_is_whatever_else_is_in_the_request() -> None:
    asked = ["a", keyed("k1"), keyed("k1"), keyed("k2"), keyed("k1", "b")]
    own = [Wanted("a", "k1"), Wanted("a", "k1"), Wanted("a", "k2"), Wanted("b", "k1")]
    assert items_of(asked, "k") == [Wanted("a", "k\na"), *own]


@pytest.mark.parametrize("key", ["k", "k" * 255, "two words", '"quoted"', "~!"])
def test_a_key_is_what_a_header_can_hold(key: str) -> None:
    assert items_of([keyed(key)], None) == [Wanted("a", key)]


@pytest.mark.parametrize("key", ["", "k" * 256, " k", "k ", "k\na", "k\r", "\0", "\x7f", "ä", "\ud800", 7, True, ["k"]])
def test_any_other_key_refuses_its_item_alone_and_names_the_field(key: Any) -> None:
    bad, good = items_of([keyed(key), "b"], None)
    assert isinstance(bad, Refused) and (bad.job_id, bad.problem["status"]) == ("a", 422)
    assert bad.problem["detail"].startswith("job_ids.0: idempotency_key: ")
    assert good == Wanted("b", None)


@pytest.mark.parametrize(
    "item", [{}, {"job_id": 7}, {"job_id": {"job_id": "a"}}, {"job_id": "a", "\ud800": 1}, {"x" * 999: 1}]
)
def test_an_item_that_is_none_is_refused_in_few_words(item: dict[str, Any]) -> None:
    [refused] = items_of([item], "k")
    assert isinstance(refused, Refused) and refused.problem["status"] == 422
    assert len(refused.problem["detail"].encode()) < 1000


@pytest.mark.parametrize("options", OPTIONS)
def test_a_single_run_and_a_bulks_item_of_the_same_content_are_the_same_request(options: dict[str, Any]) -> None:
    def fingerprint(request: LaunchOptions, job_id: str) -> str:
        return request_hash(job_id, request.model_dump(include=set(LaunchOptions.model_fields)))

    single = fingerprint(RunRequest(job_id="a", **options), "a")
    assert {fingerprint(BulkRequest(job_ids=asked, **options), "a") for asked in (["a"], [keyed("k")])} == {single}
    assert fingerprint(RunRequest(job_id="a", **options | {"priority": 1}), "a") != single
    assert fingerprint(BulkRequest(job_ids=["b"], **options), "b") != single
