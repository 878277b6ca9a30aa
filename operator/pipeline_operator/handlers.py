"""The kopf handlers, which pass each event to the operator and return immediately.

Only `on.event` is used, so kopf writes no finalizers, annotations or Events. kopf ignores the exceptions of such
handlers, so everything that must be retried is a background task. All handlers are `async`, because kopf runs others in
threads.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any, cast

import kopf

from launcher.cluster import labels
from launcher.cluster.client import KubernetesClient
from launcher.stores.archive_lock import lock_archive
from launcher.wiring import open_recording, open_storage
from pipeline_operator.app import Operator
from pipeline_operator.login import connection_info
from pipeline_operator.resync import RESYNC_SECONDS
from pipeline_operator.settings import OperatorSettings

log = logging.getLogger(__name__)
EXIT_SECONDS = 20.0
"""Enough time to flush logs and records."""
_STUCK_AFTER_SECONDS = 5 * RESYNC_SECONDS
_LIST_PAGE = 250
_WORKER_IDLE_SECONDS = 0.2


class _NoDiffs(kopf.DiffBaseStorage):
    """Handlers of events need no diffs. By default, kopf copies and compares each object twice for them."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


def register(registry: kopf.OperatorRegistry, settings: OperatorSettings) -> None:
    """Register the operator's handlers with kopf."""
    _register_activities(registry, settings)
    run_labels = {labels.RUN: kopf.PRESENT}

    @kopf.on.event("batch", "v1", "jobs", labels=run_labels, registry=registry)
    async def job(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        memo.operator.observe_job(event["object"], deleted=event["type"] == "DELETED")

    @kopf.on.event("v1", "pods", labels=run_labels, registry=registry)
    async def pod(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        memo.operator.observe_pod(event["object"], deleted=event["type"] == "DELETED")

    @kopf.on.event("v1", "configmaps", registry=registry)
    async def queue_config(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        memo.operator.observe_queue_config(event["object"], deleted=event["type"] == "DELETED")

    @kopf.on.event("v1", "resourcequotas", registry=registry)
    async def quota(memo: kopf.Memo, **_: Any) -> None:
        memo.operator.observe_quota()


def _register_activities(registry: kopf.OperatorRegistry, operator_settings: OperatorSettings) -> None:
    stack = AsyncExitStack()

    @kopf.on.startup(registry=registry, backoff=1)  # the previous operator may still be stopping
    async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
        configure(settings)
        stack.enter_context(lock_archive(operator_settings.ARCHIVE_DIR))
        try:
            memo.operator = await _assemble(operator_settings, stack)
        except Exception as exc:  # the process exits, and Kubernetes restarts it
            log.exception("the operator cannot start")
            raise kopf.PermanentError(f"The operator cannot start: {exc}") from exc

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await stack.aclose()

    @kopf.on.login(registry=registry)
    async def login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
        return connection_info(settings)

    @kopf.on.probe(registry=registry, id="reconciled_seconds_ago")
    async def alive(memo: kopf.Memo, **_: Any) -> float:
        idle = cast(Operator, memo.operator).idle_seconds
        if idle > _STUCK_AFTER_SECONDS:
            raise kopf.PermanentError("the resync is stuck")
        return idle


async def _assemble(settings: OperatorSettings, stack: AsyncExitStack) -> Operator:
    storage = open_storage(settings, stack)
    cluster = await KubernetesClient.connect(settings.KUBE_NAMESPACE)
    stack.push_async_callback(cluster.close)
    storage.start_watches(stack)
    recording = open_recording(settings, storage)
    recording.start(stack)
    operator = Operator(cluster, storage, recording, settings)
    operator.start()
    stack.push_async_callback(operator.stop)
    return operator


def configure(settings: kopf.OperatorSettings) -> None:
    """Configure kopf to watch only the runs' objects, to write nothing, and to keep no object.

    kopf has a task for each object that changes. Until the task ends, it holds the whole object, so it must end soon.
    """
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.queueing.idle_timeout = _WORKER_IDLE_SECONDS
    settings.watching.chunk_size = _LIST_PAGE
    settings.watching.connect_timeout = 5
    settings.watching.reconnect_backoff = 0.2
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = (0.5, 1, 1, 2, 2)
    settings.watching.label_selectors["batch", "v1", "jobs"] = labels.RUN
    settings.watching.label_selectors["", "v1", "pods"] = labels.RUN
    settings.watching.field_selectors["", "v1", "configmaps"] = f"metadata.name={labels.QUEUE}"
    settings.watching.field_selectors["", "v1", "resourcequotas"] = f"metadata.name={labels.QUOTA}"
