"""Health: correct and fast, whatever hangs; and liveness, which only concerns this process."""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from launcher.api import health
from launcher.api.health import HEALTH_WAIT_SECONDS, ArchiveState, HealthCheck, archive_state
from launcher.domain.health_problems import ENGINE_FAILED
from launcher.engines.port import Engine, QueueState
from launcher.stores.archive import Archive

STATE = QueueState(active=1, limit=3, queued=2, paused=False, cluster="ok", operator="up")


class SkippingSelector(selectors.DefaultSelector):
    """Lets a loop's clock jump to its next timer instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors`."""
        if timeout is None:
            return super().select()
        if not (found := super().select(0)):
            self.now += timeout
        return found


class FakeEngine:
    """An engine whose fresh state can take forever."""

    def __init__(self, state: QueueState = STATE) -> None:
        self.state, self.queries = state, 0
        self.hangs: asyncio.Event | None = None

    async def queue(self) -> QueueState:
        """See `Engine`."""
        self.queries += 1
        if self.hangs:
            await self.hangs.wait()
        return self.state

    def cached_queue(self) -> QueueState:
        """See `Engine`."""
        return self.state


def check(
    tmp_path: Path,
    scenario: Callable[[HealthCheck], Awaitable[None]],
    engine: FakeEngine | None = None,
    probe: Callable[[Path], ArchiveState] = archive_state,
) -> None:
    """Run a scenario with a health check."""

    async def bounded() -> None:
        checked = HealthCheck(cast(Engine, engine or FakeEngine()), Archive(tmp_path), {}, None, tmp_path, probe)
        try:
            async with asyncio.timeout(30):
                await scenario(checked)
        finally:
            await checked.stop()

    asyncio.run(bounded())


def skipping_loop() -> asyncio.AbstractEventLoop:
    """A loop whose waits take no time. Its clock advances only by the time waited for."""
    selector = SkippingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    return loop


@pytest.mark.parametrize("hangs", ["nothing", "disk", "engine", "both"])
def test_health_never_waits_longer_than_its_bound_whatever_hangs(tmp_path: Path, hangs: str) -> None:
    finished = threading.Event()
    engine = FakeEngine()

    def probe(path: Path) -> ArchiveState:
        if hangs in ("disk", "both"):
            finished.wait(20)
        return "ok"

    async def scenario() -> None:
        if hangs in ("engine", "both"):
            engine.hangs = asyncio.Event()
        checked = HealthCheck(cast(Engine, engine), Archive(tmp_path), {}, None, tmp_path, probe)
        loop = asyncio.get_running_loop()
        for _ in range(5):
            began = loop.time()
            await checked.report()
            assert loop.time() - began <= HEALTH_WAIT_SECONDS + 1e-9
        finished.set()
        await checked.stop()

    assert HEALTH_WAIT_SECONDS <= 0.05  # so that /health answers within 100 ms
    with asyncio.Runner(loop_factory=skipping_loop) as runner:
        runner.run(scenario())


def test_healthy_service_has_no_problems(tmp_path: Path) -> None:
    async def scenario(checked: HealthCheck) -> None:
        found = await checked.report()
        assert found | {"status": "healthy", "problems": [], "archive": "ok", "lost_lines": 0, "queued": 2} == found
        assert await checked.liveness_problem() is None

    check(tmp_path, scenario)


@pytest.mark.parametrize(
    ("blocks", "files", "state"),
    [((1 << 20), 5, "ok"), ((1 << 20) - 4096, 5, "full"), (1 << 30, 0, "full")],
    ids=["a mebibyte", "less", "no inodes"],
)
def test_disk_without_space_or_inodes_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, files: int, state: str
) -> None:
    disk = SimpleNamespace(f_bavail=blocks // 4096, f_frsize=4096, f_files=10, f_favail=files)
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    assert archive_state(tmp_path) == state
    disk.f_files = 0  # such as btrfs, which does not count them
    assert archive_state(tmp_path) == ("ok" if blocks >= 1 << 20 else "full")


def test_missing_archive_is_reported_as_unreadable(tmp_path: Path) -> None:
    assert archive_state(tmp_path / "missing") == "unreadable"

    async def scenario(checked: HealthCheck) -> None:
        found = await checked.report()
        assert (found["status"], found["archive"]) == ("degraded", "unreadable")
        assert "ARCHIVE_DIR" in found["problems"][0]

    check(tmp_path, scenario, probe=lambda path: archive_state(path / "missing"))


def test_health_reports_a_hanging_disk_and_its_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_DISK_SECONDS", 0.1)
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0.05)
    hang, probes = threading.Event(), []
    engine = FakeEngine()

    def probe(path: Path) -> ArchiveState:
        probes.append(path)
        hang.wait(20)
        return "ok"

    async def scenario(checked: HealthCheck) -> None:
        engine.hangs = asyncio.Event()
        found = await checked.report()
        assert (found["queued"], found["kubernetes"]) == (2, "ok")
        while found["archive"] == "ok":
            found = await checked.report()
        for _ in range(20):
            found = await checked.report()
        assert (found["status"], found["archive"], len(probes), engine.queries) == ("degraded", "unreadable", 1, 1)
        hang.set()
        while found["archive"] != "ok":
            found = await checked.report()
        assert found["status"] == "healthy"
        engine.hangs.set()
        assert await checked.liveness_problem() is None

    check(tmp_path, scenario, engine, probe)


def test_lost_lines_degrade_the_service_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(checked: HealthCheck) -> None:
        monkeypatch.setattr(health, "lost_lines", lambda: 7)
        found = await checked.report()
        assert (found["status"], found["lost_lines"]) == ("degraded", 7)
        assert "7 since" in found["problems"][0]
        monkeypatch.setattr(health, "_LOST_SECONDS", 0.0)
        assert (await checked.report())["status"] == "healthy"

    check(tmp_path, scenario)


def test_unavailable_services_degrade_health_but_not_liveness(tmp_path: Path) -> None:
    outage = QueueState(active=0, limit=3, queued=0, paused=False, cluster="away", operator="away")

    async def scenario(checked: HealthCheck) -> None:
        found = await checked.report()
        assert (found["status"], len(found["problems"])) == ("degraded", 2)
        assert all(text.endswith(".") for text in found["problems"])
        assert await checked.liveness_problem() is None

    check(tmp_path, scenario, FakeEngine(outage))


@pytest.mark.parametrize("pool", ["asyncio", "anyio"])
def test_process_without_free_threads_is_not_live_until_one_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    monkeypatch.setattr(health, "_POOL_SECONDS", 0.1)
    hang = threading.Event()
    run: Callable[[Callable[[], Any]], Awaitable[Any]] = (
        asyncio.to_thread if pool == "asyncio" else anyio.to_thread.run_sync  # type: ignore[assignment]
    )

    async def scenario(checked: HealthCheck) -> None:
        busy = [asyncio.ensure_future(run(lambda: hang.wait(20))) for _ in range(60)]
        await asyncio.sleep(0)
        for _ in range(3):
            fault = await checked.liveness_problem()
            assert fault
            assert "thread" in fault
        assert len(asyncio.all_tasks()) < len(busy) + 8  # checks do not pile up
        hang.set()
        await asyncio.gather(*busy)
        assert await checked.liveness_problem() is None

    check(tmp_path, scenario)


def test_failing_engine_is_not_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()

    async def scenario(checked: HealthCheck) -> None:
        monkeypatch.setattr(engine, "cached_queue", lambda: 1 // 0)
        assert await checked.liveness_problem() == ENGINE_FAILED

    check(tmp_path, scenario, engine)
