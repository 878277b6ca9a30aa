"""Background work: loops that go on as long as the process, and tasks that are never lost track of.

Nothing that one round or one run raises ends a loop, a start, or another run: it is logged with its traceback,
counted in `slipway_faults_total`, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from launcher.metrics import FAULTS

MAX_PAUSE_SECONDS = 60.0
log = logging.getLogger(__name__)


def report(where: str, what: str) -> None:
    """Log the exception that is being handled, and count it. `where` is the metric's label, so it has few values."""
    FAULTS.labels(where).inc()
    log.exception("%s", what)


@contextmanager
def contained(where: str, what: str = "") -> Iterator[None]:
    """Report any exception of the block and go on after it."""
    try:
        yield
    except Exception:
        report(where, what or where)


async def repeat(
    name: str,
    work: Callable[[], Awaitable[object]],
    *,
    every_seconds: float = 0.0,
    expected: tuple[type[Exception], ...] = (),
    retry_seconds: float = 1.0,
) -> None:
    """Do `work` again and again until cancelled, `every_seconds` after each success.

    Exceptions that are `expected` are part of life, such as a store that is down: they are logged when they begin and
    when they are over, and the work is tried again after `retry_seconds`. Any other is a fault: it is reported, and the
    pause doubles with each one in a row, up to a minute.
    """
    failing, pause = False, retry_seconds
    while True:
        try:
            await work()
        except expected as exc:
            if not failing:
                log.warning("%s: %s", name, exc)
            failing = True
            await asyncio.sleep(retry_seconds)
        except Exception:
            report(name, f"{name} failed; trying again in {pause:g} s")
            failing = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        else:
            if failing:
                log.info("%s: works again", name)
            failing, pause = False, retry_seconds
            await asyncio.sleep(every_seconds)


class Tasks:
    """The background tasks of one owner. A task that dies of an exception is reported, never silent."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task; `name` is for logs and debuggers."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def join(self) -> None:
        """Wait until every task has ended, those that are started meanwhile included."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended."""
        while self._tasks:  # one that is cancelled may have started another
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=1.0)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            FAULTS.labels("task").inc()
            log.error("task %s died", task.get_name(), exc_info=fault)
