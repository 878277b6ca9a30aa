"""The Kubernetes client against a server: lists in pages, watches, and an API server that has too many requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from launcher.cluster import client
from launcher.cluster.client import KubernetesClient
from launcher.domain.errors import ClusterUnavailable, ObjectChanged

JOBS = "/apis/batch/v1/namespaces/n/jobs"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def connected(folder: Path, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesClient]:
    """Serve the handler as the API server, and connect to it with a kubeconfig."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    default = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"  # KUBECONFIG, as it was at the import
    monkeypatch.setattr(default, str(folder / "kubeconfig"))
    connection = await KubernetesClient.connect()
    try:
        async with asyncio.timeout(10):
            yield connection
    finally:
        await connection.close()
        await runner.cleanup()


def job(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def status(code: int, **headers: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": "why"}, status=code, headers=headers)


def test_a_list_is_read_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[dict[str, str]] = []

    async def serve(request: web.Request) -> web.Response:
        assert request.path == JOBS
        queries.append(dict(request.query))
        rest = {} if len(queries) == 3 else {"continue": f"after-{len(queries)}"}
        return web.json_response({"metadata": {"resourceVersion": "9", **rest}, "items": [job(str(len(queries)), 1)]})

    async def scenario() -> None:
        async with connected(tmp_path, serve, monkeypatch) as cluster:
            pages = [page async for page in cluster.pages("Job", labels="a=b")]
            assert [page.version for page in pages] == [9, 9, 9]
            assert [each["metadata"]["name"] for page in pages for each in page.items] == ["1", "2", "3"]

    asyncio.run(scenario())
    assert [query.get("continue") for query in queries] == [None, "after-1", "after-2"]
    assert {query["labelSelector"] for query in queries} == {"a=b"}


def test_a_watch_yields_changes_and_deletions_however_they_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        {"type": "ADDED", "object": job("a", 5)},
        {"type": "BOOKMARK", "object": job("", 6)},
        {"type": "MODIFIED", "object": job("a", 7)},
        {"type": "DELETED", "object": job("a", 8)},
    ]

    async def serve(request: web.Request) -> web.StreamResponse:
        assert (request.query["watch"], request.query["resourceVersion"]) == ("true", "4")
        answer = web.StreamResponse()
        await answer.prepare(request)
        body = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        for start in range(0, len(body), 50):
            await answer.write(body[start : start + 50])
            await asyncio.sleep(0)
        return answer

    async def scenario() -> None:
        async with (
            connected(tmp_path, serve, monkeypatch) as cluster,
            cluster.watch("Job", labels="a=b", since=4) as changes,
        ):
            seen = [(change.object["metadata"]["resourceVersion"], change.deleted) async for change in changes]
            assert seen == [("5", False), ("7", False), ("8", True)]

    asyncio.run(scenario())


@pytest.mark.parametrize("late", [True, False])
def test_a_watch_from_a_version_that_is_too_old_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        if late:
            event = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            return web.Response(text=json.dumps(event) + "\n")
        return status(410)

    async def scenario() -> None:
        async with connected(tmp_path, serve, monkeypatch) as cluster:
            with pytest.raises(ObjectChanged):
                async with cluster.watch("Job", since=4) as changes:
                    assert [change async for change in changes] == []

    asyncio.run(scenario())


@pytest.mark.parametrize("busy", [2, 1000])
def test_a_request_is_repeated_when_a_busy_api_server_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    monkeypatch.setattr(client, "_BUSY_SECONDS", 0.05)
    monkeypatch.setattr(client, "_BUSY_PAUSE_SECONDS", 0.01)
    calls = 0

    async def serve(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return status(429, **{"Retry-After": "0"}) if calls <= busy else web.json_response(job("a", 5))

    async def scenario() -> None:
        async with connected(tmp_path, serve, monkeypatch) as cluster:
            if busy == 1000:
                with pytest.raises(ClusterUnavailable):
                    await cluster.create("Job", job("a", 0))
                assert 2 <= calls <= 6  # with a pause, although the server asks for none
            else:
                assert await cluster.create("Job", job("a", 0)) == job("a", 5)
                assert calls == busy + 1

    asyncio.run(scenario())
