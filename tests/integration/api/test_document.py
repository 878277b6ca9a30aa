"""The OpenAPI document: complete, with valid examples, and matched by the responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from launching.launcher import Launcher

OPEN = {("get", path) for path in ("/health", "/livez", "/readyz", "/metrics")}
ALL = {
    ("post", "/jobs/run"),
    ("post", "/jobs/run-bulk"),
    ("get", "/jobs"),
    ("get", "/jobs/stats"),
    ("get", "/jobs/{run_id}/status"),
    ("get", "/jobs/{run_id}/request"),
    ("get", "/jobs/{run_id}/logs"),
    ("get", "/jobs/{run_id}/log"),
    ("delete", "/jobs/{run_id}"),
    ("post", "/jobs/{run_id}/ticket"),
    ("get", "/artifacts/{run_id}/{filename}"),
    ("post", "/queue/pause"),
    ("post", "/queue/resume"),
} | OPEN


@pytest.fixture(scope="module")
def document(launcher: Launcher) -> dict[str, Any]:
    answer: dict[str, Any] = launcher.client.get("/openapi.json").json()
    return answer


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): call for path, calls in document["paths"].items() for method, call in calls.items()}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def schema_errors(document: dict[str, Any], schema: str, value: Any) -> list[str]:
    """Return the errors of a value against a named schema."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    return [fault.message for fault in jsonschema_rs.validator_for(whole).iter_errors(value)]


def test_document_lists_exactly_the_routes(document: dict[str, Any]) -> None:
    assert set(operations(document)) == ALL
    assert document["openapi"].startswith("3.")


def test_references_resolve_and_operation_ids_are_unique(document: dict[str, Any]) -> None:
    for reference in references(document):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    names = [call["operationId"] for call in operations(document).values()]
    assert len(names) == len(set(names))


def test_every_route_has_a_description_and_its_security(document: dict[str, Any]) -> None:
    for name, call in operations(document).items():
        assert call["summary"], name
        assert call["description"], name
        assert call["tags"], name
        assert bool(call.get("security")) == (name not in OPEN), name
        success = call["responses"]["200"]
        assert success["description"], name


def test_schemas_are_valid_and_examples_match_them(document: dict[str, Any]) -> None:
    examples = 0
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name
        for example in schema.get("examples", []):
            examples += 1
            whole = {**dict.fromkeys(schema.get("required", [])), **example}  # FastAPI leaves nulls out of examples
            assert schema_errors(document, name, whole) == [], name
    assert examples >= 3


def test_responses_match_the_document(launcher: Launcher, document: dict[str, Any]) -> None:
    run = launcher.run("doc", pipeline="hello")
    run_id = run["run_id"]
    keyed = {"job_id": "doc", "idempotency_key": "own-key"}
    answers = {
        "RunView": [run, launcher.wait(run_id), launcher.client.delete(f"/jobs/{run_id}").json()],
        "RunPage": [launcher.client.get("/jobs").json(), launcher.client.get("/jobs", params={"job_id": "no"}).json()],
        "BulkView": [launcher.client.post("/jobs/run-bulk", json={"job_ids": ["doc", "", "doc", 7, keyed]}).json()],
        "StatsView": [launcher.client.get("/jobs/stats", params={"days": 2, "tz": "Asia/Tokyo"}).json()],
        "TicketView": [launcher.client.post(f"/jobs/{run_id}/ticket").json()],
    }
    for schema, values in answers.items():
        for value in values:
            assert schema_errors(document, schema, value) == [], (schema, value)


def test_documented_request_limits_are_enforced(launcher: Launcher, document: dict[str, Any]) -> None:
    bodies: list[Any] = [
        {"job_id": "d", "pipeline": "hello"},
        {"job_id": "d", "pipeline": "hello", "priority": 100, "params": {"a": "b", "c": 1.5, "d": True}},
        {},
        {"job_id": ""},
        {"job_id": 7},
        {"job_id": "d", "priority": 101},
        {"job_id": "d", "profile_ref": "a b"},
        {"job_id": "d", "timeout_seconds": 0},
        {"job_id": "d", "unknown": 1},
        {"job_id": "d", "params": {"a": [1]}},
    ]
    for body in bodies:
        taken = launcher.client.post("/jobs/run", json=body).status_code == 200
        assert taken == (schema_errors(document, "RunRequest", body) == []), body
