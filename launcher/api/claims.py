"""Validates the claims of a token with a valid signature, as RFC 7519 requires.

python-jose truncates times to whole numbers and accepts values that are not times, so none of its checks are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUDIENCE = "slipway"
LEEWAY_SECONDS = 30
MAX_VALID_SECONDS = 10 * 366 * 86400
"""Ten years. A token that is valid for longer is a mistake."""


@dataclass(frozen=True)
class Claims:
    """The claims of a valid token: its subject, its scope and, for a ticket, its run."""

    subject: str
    scope: str
    run_id: str | None = None


def valid_claims(claims: Mapping[str, Any], now: float) -> Claims | None:
    """Return the claims; None if one is missing, has the wrong type, or is not valid at `now`."""
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
    """Whether this is a NumericDate: seconds since 1970, as an integer or a finite fraction. A bool is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= 0 and (isinstance(value, int) or math.isfinite(value))


def _is_for_us(audience: object) -> bool:
    if isinstance(audience, list):
        return AUDIENCE in audience and all(isinstance(each, str) for each in audience)
    return audience == AUDIENCE
