"""Idempotency keys: clicking the same button twice launches one run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from frontend.last_run import LastRun

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def launch_key(job_id: str, last_run_id: str) -> str:
    """Return the Idempotency-Key of *Process*: the same on every page that shows this newest run, or none."""
    return _digest(f"{job_id}\0{last_run_id}")


def bulk_items(job_ids: Iterable[str], shown: Mapping[str, LastRun]) -> list[str | dict[str, str]]:
    """Return the items of *Process selected*, each job once, with the key of its *Process* button if it is shown."""
    return [
        {"job_id": job_id, "idempotency_key": launch_key(job_id, shown[job_id].run_id)} if job_id in shown else job_id
        for job_id in dict.fromkeys(job_ids)
    ]


def anchor(job_id: str) -> str:
    """Return a job_id in a form that is valid in an element's id: unchanged if it is plain, else a hash."""
    return job_id if _PLAIN.fullmatch(job_id) else "x-" + _digest(job_id)[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
