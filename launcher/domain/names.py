"""Names: run ids that are readable, bounded, ordered by time, and safe wherever a name stands."""

from __future__ import annotations

import hashlib
import re

RUN_ID_MAX = 63
"""A Kubernetes label's limit: the run id is the Job's name, and its pods bear it as a label."""
_ID_LENGTH = 26
_SLUG_MAX = RUN_ID_MAX - 1 - _ID_LENGTH
_RUN_ID = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id(job_id: str, idempotency_hash: str | None = None) -> str:
    """Name a run: a slug of the job_id, then 26 characters.

    They are a ULID, so names sort by time; with an idempotency hash they are derived from it, so that a
    retried request gets the same name and whoever creates the run second finds it there.
    """
    from slugify import slugify  # here, because the command line checks names and is installed without these two
    from ulid import ULID

    slug = slugify(job_id, max_length=_SLUG_MAX).strip("-") or "run"
    return f"{slug}-{_derived(idempotency_hash) if idempotency_hash else str(ULID()).lower()}"


def is_run_id(text: str) -> bool:
    """Say whether the text can be a run's name: what cannot is never looked up, nor joined to a path."""
    return _RUN_ID.fullmatch(text) is not None


def may_begin_run_id(text: str) -> bool:
    """Say whether a run's name can begin with the text."""
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
