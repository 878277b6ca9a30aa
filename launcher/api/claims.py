"""The claims of a token whose signature is good: RFC 7519, checked in full, as a pure decision.

python-jose turns times into whole numbers and lets through what they cannot say, so none of its own checks is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUDIENCE = "slipway"
LEEWAY_SECONDS = 30
MAX_VALID_SECONDS = 10 * 366 * 86400
"""A token that is valid for longer than ten years is a mistake."""


@dataclass(frozen=True)
class Claims:
    """What a valid token says: who it is for, what that one may do, and for a ticket which run it opens."""

    subject: str
    scope: str
    run_id: str | None = None


def valid_claims(claims: Mapping[str, Any], now: float) -> Claims | None:
    """Return what a token says; None where a claim is missing, of the wrong type, or does not hold at this moment."""
    match claims:
        case {"sub": str(subject), "aud": audience, "iat": issued, "exp": expires, "scope": str(scope)}:
            run_id = claims.get("run_id")
            times = _is_date(issued) and _is_date(expires) and ("nbf" not in claims or _is_date(claims["nbf"]))
            if not (subject and times and _is_for_us(audience) and (run_id is None or isinstance(run_id, str))):
                return None
            begins = max(issued, claims.get("nbf", 0))
            if begins <= now + LEEWAY_SECONDS and now - LEEWAY_SECONDS < expires <= now + MAX_VALID_SECONDS:
                return Claims(subject, scope, run_id)
    return None


def _is_date(value: object) -> bool:
    """Say whether this is a NumericDate: seconds since 1970, whole or not; a bool is none, and neither is NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= 0 and (isinstance(value, int) or math.isfinite(value))


def _is_for_us(audience: object) -> bool:
    if isinstance(audience, list):
        return AUDIENCE in audience and all(isinstance(each, str) for each in audience)
    return audience == AUDIENCE
