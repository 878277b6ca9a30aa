"""Turns a request into a queued run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from launcher.api.dependencies import Services
from launcher.api.schemas import MAX_KEY, LaunchOptions, request_hash
from launcher.domain.errors import InvalidRequest, UnknownPipeline
from launcher.domain.names import hash_of, new_run_id
from launcher.domain.runs import Run, now

AT_ONCE = 16
"""How many items of a bulk are launched at the same time. More would only wait in the API server's own queues."""
T = TypeVar("T")
R = TypeVar("R")


async def several_at_once(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """Do the work for each item; return the results. The work starts in the order of the items, so runs queue in it.

    Other requests proceed between two items.
    """
    left = iter(enumerate(items))
    results: dict[int, R] = {}

    async def worker() -> None:
        while True:
            await asyncio.sleep(0)
            try:
                index, item = next(left)
            except StopIteration:
                return
            results[index] = await work(item)

    workers = [asyncio.create_task(worker()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
    return [result for _, result in sorted(results.items())]


def check_key(key: str | None) -> str | None:
    """Return the Idempotency-Key if it is valid. Raises `InvalidRequest`."""
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise InvalidRequest(f"Idempotency-Key: must have 1 to {MAX_KEY} characters.")
    return key


def check_options(services: Services, options: LaunchOptions) -> None:
    """Check the options against the settings. Raises `UnknownPipeline` or `InvalidRequest`."""
    pipelines = services.settings.pipelines
    if options.pipeline is not None and options.pipeline not in pipelines:
        known = ", ".join(sorted(pipelines))
        raise UnknownPipeline(f"pipeline: '{options.pipeline}' does not exist. Available pipelines: {known}.")
    longest = services.settings.MAX_TIMEOUT_SECONDS
    if options.timeout_seconds is not None and options.timeout_seconds > longest:
        raise InvalidRequest(f"timeout_seconds: must be at most {longest} (MAX_TIMEOUT_SECONDS).")


async def launch(services: Services, job_id: str, options: LaunchOptions, key: str | None) -> Run:
    """Queue one run. The same key and request return the same run."""
    pipeline = services.settings.pipelines[options.pipeline or "default"]
    key_hash = hash_of(key) if key else None
    at = now()
    return await services.engine.submit(
        Run(
            run_id=new_run_id(job_id, key_hash),
            job_id=job_id,
            profile_ref=options.profile_ref,
            pipeline=pipeline.name,
            params=options.params,
            priority=options.priority,
            timeout_seconds=options.timeout_seconds
            or pipeline.timeout_seconds
            or services.settings.PIPELINE_TIMEOUT_SECONDS,
            created_at=at,
            updated_at=at,
            idempotency_hash=key_hash,
            request_hash=request_hash(job_id, options.model_dump(include=set(LaunchOptions.model_fields))),
        )
    )
