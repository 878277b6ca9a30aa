"""Background work: loops that survive every exception, tasks whose exceptions are reported, and calls in threads.

An exception in one round or one run never stops a loop, a startup or another run. It is logged with its traceback and
counted in `slipway_faults_total`, and the work is retried.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from launcher.metrics import FAULTS

MAX_PAUSE_SECONDS = 60.0
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


def report_exception(where: str, what: str) -> None:
    """Log the current exception and count it. `where` is a label of the metric, so use few values."""
    FAULTS.labels(where).inc()
    log.exception("%s", what)


@contextmanager
def suppress_and_report(where: str, what: str = "") -> Iterator[None]:
    """Report any exception of the block, and continue after it."""
    try:
        yield
    except Exception:
        report_exception(where, what or where)


async def repeat(
    name: str,
    work: Callable[[], Awaitable[object]],
    *,
    every_seconds: float = 0.0,
    expected: tuple[type[Exception], ...] = (),
    retry_seconds: float = 1.0,
) -> None:
    """Repeat `work` until cancelled, `every_seconds` after each success.

    `expected` exceptions, such as that of a store that is down, are logged when they start and when they stop. The work
    is retried after `retry_seconds`. Any other exception is reported, and the pause doubles each time, up to a minute.
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
            report_exception(name, f"{name} failed; trying again in {pause:g} s")
            failing = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        else:
            if failing:
                log.info("%s: works again", name)
            failing, pause = False, retry_seconds
            await asyncio.sleep(every_seconds)


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call in a thread. If the task is cancelled, it first waits until the call has returned.

    So a cancelled task never leaves a call behind that still uses its objects.
    """
    work = asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # retrieved, so that asyncio does not log it
        raise


class Tasks:
    """The background tasks of one owner. Exceptions of tasks are reported."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task. The name is for logs and debuggers."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def join(self) -> None:
        """Wait until all tasks are done, including those started in the meantime."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def stop(self) -> None:
        """Cancel all tasks and wait until they are done."""
        while self._tasks:  # a cancelled task may have started another
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=1.0)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            FAULTS.labels("task").inc()
            log.error("task %s died", task.get_name(), exc_info=fault)
