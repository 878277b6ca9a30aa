"""Credentials: a table of hostile tokens, which are all refused, and the valid ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from launcher.api.auth import Authenticator, Scope
from launcher.domain.errors import NotAllowed, NotAuthenticated

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
NOW = int(time.time())
DAY = 86400
CLAIMS: dict[str, Any] = {"sub": "x", "aud": "slipway", "iat": NOW, "exp": NOW + DAY, "scope": "read"}
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def encoded(value: object) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def token(
    claims: object = CLAIMS, key: bytes = SECRET.encode(), alg: str = "HS256", sign_as: str = "HS256", **header: Any
) -> str:
    signed = encoded({"alg": alg, "typ": "JWT", **header}) + b"." + encoded(claims)
    signature = hmac.new(key, signed, HASHES[sign_as]).digest()
    return (signed + b"." + encoded(signature)).decode()


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


DER = base64.b64decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE") + b"\x04" * 64
HOSTILE = {
    "nothing": "",
    "space": " ",
    "garbage": "a.b.c",
    "dots": "..",
    "no signature": token().rsplit(".", 1)[0] + ".",
    "truncated signature": token()[:-4],
    "alg none": (encoded({"alg": "none"}) + b"." + encoded(CLAIMS) + b".").decode(),
    "alg None": token(alg="None"),
    "alg nOnE": token(alg="nOnE"),
    "alg empty": token(alg=""),
    "HS384": token(alg="HS384", sign_as="HS384"),
    "HS512": token(alg="HS512", sign_as="HS512"),
    "RS256 in the header, HMAC as signature": token(alg="RS256"),
    "empty key": token(key=b""),
    "DER as key": token(key=DER),
    "another secret": token(key=OTHER.encode()),
    "expired": token({**CLAIMS, "exp": NOW - 60}),
    "without exp": token(without("exp")),
    "without iat": token(without("iat")),
    "without sub": token(without("sub")),
    "without aud": token(without("aud")),
    "without scope": token(without("scope")),
    "wrong aud": token({**CLAIMS, "aud": "other"}),
    "aud in capitals": token({**CLAIMS, "aud": "Slipway"}),
    "aud empty list": token({**CLAIMS, "aud": []}),
    "aud list of others": token({**CLAIMS, "aud": ["other", "slipway2"]}),
    "aud list with a number": token({**CLAIMS, "aud": ["slipway", 1]}),
    "aud list with null": token({**CLAIMS, "aud": ["slipway", None]}),
    "aud list in a list": token({**CLAIMS, "aud": [["slipway"]]}),
    "aud object": token({**CLAIMS, "aud": {"slipway": 1}}),
    "aud number": token({**CLAIMS, "aud": 1}),
    "aud null": token({**CLAIMS, "aud": None}),
    "sub empty": token({**CLAIMS, "sub": ""}),
    "sub list": token({**CLAIMS, "sub": ["x"]}),
    "exp text": token({**CLAIMS, "exp": "never"}),
    "exp null": token({**CLAIMS, "exp": None}),
    "exp infinite": token(json.dumps(CLAIMS).replace(str(NOW + DAY), "1e999").encode()),
    **{
        f"{name} {value}": token(json.dumps({**CLAIMS, name: "HERE"}).replace('"HERE"', value).encode())
        for name in ("exp", "iat", "nbf")
        for value in ("NaN", "Infinity", "-Infinity", "true", "null", '"1"', "-1", "-0.5", "[1]", "{}", "9" * 400)
    },
    "exp of 5000 digits": token(json.dumps({**CLAIMS, "exp": "HERE"}).replace('"HERE"', "9" * 5000).encode()),
    "exp in eleven years": token({**CLAIMS, "exp": NOW + 11 * 366 * DAY}),
    "exp 1e308": token({**CLAIMS, "exp": 1e308}),
    "exp a second beyond the leeway": token({**CLAIMS, "exp": NOW - 31.5}),
    "iat in the future": token({**CLAIMS, "iat": NOW + DAY}),
    "nbf in the future": token({**CLAIMS, "nbf": NOW + DAY + 0.5}),
    "iat in milliseconds": token({**CLAIMS, "iat": NOW * 1000}),
    "iat text": token({**CLAIMS, "iat": "now"}),
    "scope list": token({**CLAIMS, "scope": ["read"]}),
    "run_id number": token({**CLAIMS, "run_id": 1}),
    "critical header": token(crit=["x"]),
    "claims list": token([]),
    "claims deep": token(b"[" * 3000),
    "a blank in the signature": token()[:-3] + " " + token()[-3:],
    "a newline after it": token() + "\n",
    "padding after it": token() + "=",
    "letters that are not ASCII": "é.é.é",
    "long": token({**CLAIMS, "pad": "x" * 9000}),
    "unicode": "é" * 100,
    "nul": "\0" * 40,
    "the secret, truncated": SECRET[:-1],
    "the secret, longer": SECRET + "0",
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_credential_is_refused(name: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        Authenticator([SECRET]).principal(HOSTILE[name])
    assert str(refused.value) == NotAuthenticated().message  # it does not reveal the reason


def test_secrets_grant_all_scopes() -> None:
    for secret in (SECRET, OTHER):
        Authenticator([SECRET, OTHER]).principal(secret).require(Scope.ADMIN)


def test_token_grants_its_scopes() -> None:
    authenticator = Authenticator([SECRET, OTHER])
    assert authenticator.principal(token()).scopes == {Scope.READ}
    assert authenticator.principal(token(key=OTHER.encode())).scopes == {Scope.READ}
    assert authenticator.principal(token({**CLAIMS, "scope": "read fly run"})).scopes == {Scope.READ, Scope.RUN}
    with pytest.raises(NotAllowed):
        authenticator.principal(token()).require(Scope.RUN)
    authenticator.principal(token({**CLAIMS, "scope": "admin"})).require(Scope.CANCEL)


def test_ticket_is_valid_only_for_its_run() -> None:
    authenticator = Authenticator([SECRET])
    ticket = authenticator.ticket("run-1", "x")
    assert authenticator.ticket_principal(ticket, "run-1").scopes == {Scope.READ}
    for credential, run_id in ((ticket, "run-2"), (token(), "run-1"), (SECRET, "run-1")):
        with pytest.raises(NotAuthenticated):
            authenticator.ticket_principal(credential, run_id)


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_ticket_is_refused(name: str) -> None:
    with pytest.raises(NotAuthenticated):
        Authenticator([SECRET]).ticket_principal(HOSTILE[name], "run-1")


@pytest.mark.parametrize(
    ("changes", "seconds_from_now"),
    [
        ({"aud": ["slipway"]}, {}),
        ({"aud": ["other", "slipway"]}, {}),
        ({"iss": 1, "jti": 2, "at_hash": [], "more": None}, {}),
        ({"iat": 0, "nbf": 0}, {}),
        ({}, {"exp": 600.5, "iat": -0.25}),
        ({}, {"nbf": -0.5}),
        ({}, {"exp": 10 * 365 * DAY}),
        ({}, {"exp": -5}),
        ({}, {"iat": 5, "nbf": 5}),
    ],
    ids=str,
)
def test_claims_are_validated_as_rfc_7519_requires(changes: dict[str, Any], seconds_from_now: dict[str, float]) -> None:
    at = time.time()
    claims = {**CLAIMS, **changes, **{name: at + seconds for name, seconds in seconds_from_now.items()}}
    Authenticator([SECRET]).principal(token(claims)).require(Scope.READ)
    Authenticator([SECRET]).ticket_principal(token({**claims, "run_id": "run-1"}), "run-1").require(Scope.READ)


def test_ticket_has_one_limit_however_its_signature_is_encoded() -> None:
    authenticator = Authenticator([SECRET])
    one, other = authenticator.ticket("run-1", "x"), authenticator.ticket("run-1", "x")
    assert (
        authenticator.principal(one).limit_key != authenticator.principal(other).limit_key
    )  # created in the same second
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = alphabet.index(one[-1])
    spelled = one[:-1] + alphabet[at ^ 1]  # the last two bits of a signature are unused
    assert authenticator.principal(spelled).limit_key == authenticator.principal(one).limit_key
    assert (
        authenticator.principal(token({**CLAIMS, "sub": "secret"})).limit_key
        != authenticator.principal(SECRET).limit_key
    )


def test_development_without_a_secret_allows_everyone() -> None:
    authenticator = Authenticator([])
    authenticator.principal(None).require(Scope.ADMIN)
    authenticator.ticket_principal(authenticator.ticket("run-1", "x"), "run-1").require(Scope.READ)
