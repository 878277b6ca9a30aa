"""Authentication by the shared secret itself or an HS256 token signed with it. The only module that imports jose.

python-jose 3.5.0 accepts an empty HMAC key (CVE-2026-120459) and, without a list of algorithms, a DER public key as an
HMAC secret (CVE-2026-85394). So the algorithm is pinned, the key is always a secret that the settings have validated,
the header is checked before the signature, the claims are checked in `claims`, and the tests include a table of hostile
tokens. python-jose costs 4 MB, so it is imported with the first token: callers that send the secret do without it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from launcher.api.claims import AUDIENCE, Claims, valid_claims
from launcher.domain.errors import NotAllowed, NotAuthenticated

ALGORITHM = "HS256"
TICKET_SECONDS = 600
_MAX_TOKEN_BYTES = 8192
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_SIGNATURE_ALONE = {f"verify_{claim}": False for claim in ("aud", "iat", "exp", "nbf", "iss", "sub", "jti", "at_hash")}


class Scope(StrEnum):
    """What a credential may do."""

    RUN = "run"
    READ = "read"
    CANCEL = "cancel"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """An authenticated caller: its name for logs, its scopes, a ticket's only run, and the key that limits count by."""

    subject: str
    scopes: frozenset[Scope]
    run_id: str | None = None
    limit_key: str

    def require(self, scope: Scope) -> None:
        """Raise `NotAllowed` if the scope is missing. `admin` includes every other scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise NotAllowed(f"This token does not have the scope '{scope}'. Use a token that has it.")


EVERYTHING = frozenset(Scope)
TICKET_FOR_ANOTHER_RUN = "This ticket is for another run. Request one with `POST /jobs/{run_id}/ticket`."


class Authenticator:
    """Checks credentials against the valid secrets. Without any (development on loopback) everyone is allowed."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    def principal(self, credential: str | None) -> Principal:
        """Return the principal of a credential. Raises `NotAuthenticated`."""
        if not self._secrets:
            return Principal(subject="development", scopes=EVERYTHING, limit_key="development")
        if not credential or len(credential.encode()) > _MAX_TOKEN_BYTES:
            raise NotAuthenticated
        digest = hashlib.sha256(credential.encode()).digest()
        for secret in self._secrets:
            if hmac.compare_digest(digest, hashlib.sha256(secret.encode()).digest()):
                return Principal(subject="secret", scopes=EVERYTHING, limit_key="secret")
        if _TOKEN.fullmatch(credential):
            for secret in self._secrets:
                if principal := _principal_of(credential, secret):
                    return principal
        raise NotAuthenticated

    def ticket_principal(self, ticket: str, run_id: str) -> Principal:
        """Return the principal of a ticket. Raises `NotAuthenticated` if the ticket is for another run."""
        principal = self.principal(ticket)
        if self._secrets and principal.run_id != run_id:
            raise NotAuthenticated(TICKET_FOR_ANOTHER_RUN)
        return principal

    def ticket(self, run_id: str, subject: str) -> str:
        """Return a token that can read one run's log and artifacts for ten minutes."""
        return self.token(subject, [Scope.READ], seconds=TICKET_SECONDS, run_id=run_id)

    def token(self, subject: str, scopes: Sequence[Scope], *, seconds: int, run_id: str | None = None) -> str:
        """Return a signed token. In development without a secret, any text is accepted as one."""
        if not self._secrets:
            return "development"
        from jose import jwt

        at = int(time.time())
        claims = {"sub": subject, "aud": AUDIENCE, "iat": at, "exp": at + seconds, "scope": " ".join(scopes)}
        if run_id:
            claims |= {
                "run_id": run_id,
                "jti": secrets.token_hex(8),
            }  # so that two tickets of the same second are limited separately
        return jwt.encode(claims, self._secrets[0], algorithm=ALGORITHM)


def _principal_of(token: str, secret: str) -> Principal | None:
    from jose import jwt
    from jose.exceptions import JOSEError

    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != ALGORITHM or "crit" in header:
            return None
        signed = jwt.decode(token, secret, algorithms=[ALGORITHM], options=_SIGNATURE_ALONE)
        claims = valid_claims(signed, time.time())
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    if claims is None:
        return None
    subject = claims.subject[:200]
    scopes = frozenset(Scope(word) for word in claims.scope.split() if word in set(Scope))
    return Principal(subject=subject, scopes=scopes, run_id=claims.run_id, limit_key=_limit_key(token, subject, claims))


def _limit_key(token: str, subject: str, claims: Claims) -> str:
    """Return the key that limits count by: the ticket itself, or for other tokens their subject.

    A ticket's key leaves out the signature, which has more than one valid encoding.
    """
    if claims.run_id is None:
        return f"subject {subject}"
    return f"ticket {hashlib.sha256(token.rpartition('.')[0].encode()).hexdigest()}"
