"""What each process builds from the settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from launcher.api.app import create_app
from launcher.cluster import labels
from launcher.cluster.client import KubernetesClient
from launcher.domain.errors import StoreUnavailable
from launcher.logs.publisher import Publisher
from launcher.mirror import Mirror
from launcher.recorder import Recorder
from launcher.settings import Settings
from launcher.stores.mongodb import MongoRunStore, MongoWorkItems
from launcher.stores.redis import RedisRunStore
from launching.fake_cluster import FakeCluster
from pipeline_operator.cluster_cache import ClusterCache

WRITERS = (Recorder, Publisher, Mirror, MongoWorkItems)
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("engine", ["kubernetes", "local"])
def test_only_the_launcher_that_records_builds_what_writes_and_both_report_their_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    built: set[str] = set()
    for kind in WRITERS:
        monkeypatch.setattr(kind, "__init__", noting(kind, built))
    cluster = FakeCluster(ClusterCache())
    cluster.put("ConfigMap", {"metadata": {"name": labels.QUEUE}, "data": {}})
    cluster.put("Lease", {"metadata": {"name": labels.LEASE}})

    async def connect(namespace: str) -> FakeCluster:
        return cluster

    async def answer(store: RedisRunStore) -> None:
        pass

    async def fail(store: MongoRunStore) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(KubernetesClient, "connect", connect)
    monkeypatch.setattr(RedisRunStore, "ping", answer)
    monkeypatch.setattr(MongoRunStore, "ping", fail)
    settings = Settings.from_environment(
        {
            "ENGINE": engine,
            "RUNNER_API_SECRET": SECRET,
            "ARCHIVE_DIR": f"{tmp_path}/archive",
            "APPLICATIONS_DIR": f"{tmp_path}/applications",
            "REDIS_URL": "redis://127.0.0.1:1",
            "MONGODB_URI": "mongodb://127.0.0.1:1",
        }
    )

    async def scenario() -> None:
        app = create_app(settings, {})
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=ASGITransport(app), base_url="http://launcher") as client,
            asyncio.timeout(10),
        ):
            while "connecting" in (health := (await client.get("/health")).json()).values():
                await asyncio.sleep(0.005)
            assert (health["redis"], health["mongodb"], health["records_owed"]) == ("ok", "away", 0)

    asyncio.run(scenario())
    assert built == (set() if engine == "kubernetes" else {kind.__name__ for kind in WRITERS})


def noting(kind: type, built: set[str]) -> Any:
    """The constructor of a class, which also notes the class's name."""
    construct: Any = kind.__init__  # type: ignore[misc]

    def constructor(self: object, *args: Any, **kwargs: Any) -> None:
        built.add(kind.__name__)
        construct(self, *args, **kwargs)

    return constructor
