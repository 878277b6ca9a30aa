"""Run ids: readable, short, sortable by time, and safe in URLs, paths and Kubernetes names."""

from __future__ import annotations

import hashlib
import re

RUN_ID_MAX = 63
"""The limit of a Kubernetes label: the run id is the Job's name, which is also a label of its pods."""
_ID_LENGTH = 26
_SLUG_MAX = RUN_ID_MAX - 1 - _ID_LENGTH
_RUN_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id(job_id: str, idempotency_hash: str | None = None) -> str:
    """Return a new run id: a slug of the job_id, then 26 characters.

    The characters are a ULID, so run ids sort by time. With an idempotency hash they are derived from the hash instead,
    so a retried request gets the same run id and cannot create a second run.
    """
    from slugify import slugify  # not at the top: the command line uses this module without these two packages
    from ulid import ULID

    slug = slugify(job_id, max_length=_SLUG_MAX).strip("-") or "run"
    return f"{slug}-{_derived(idempotency_hash) if idempotency_hash else str(ULID()).lower()}"


def is_run_id(text: str) -> bool:
    """Return whether the text is a valid run id. Anything else must not be looked up or joined to a path."""
    return _RUN_ID.fullmatch(text) is not None


def is_run_id_prefix(text: str) -> bool:
    """Return whether a run id can start with the text."""
    return is_run_id(text) or is_run_id(f"{text}0")


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _derived(hexadecimal: str) -> str:
    number = int(hexadecimal, 16)
    digits = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, 32)
        digits.append(_CROCKFORD[digit])
    return "".join(digits)
