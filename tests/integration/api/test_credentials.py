"""Credentials over HTTP: forged, expired and oversized ones are refused, and no response reveals a secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.api.auth import Authenticator, Scope
from launching.launcher import Launcher

PROBLEM = "application/problem+json"
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def part(document: Any) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def signed(secret: str, header: dict[str, Any] | None = None, leave_out: str = "", **claims: Any) -> str:
    """Create a token with only the standard library; valid by default."""
    head = {"alg": "HS256", "typ": "JWT", **(header or {})}
    at = int(time.time())
    body = {"sub": "someone", "aud": "slipway", "iat": at, "exp": at + 60, "scope": "read", **claims}
    body.pop(leave_out, None)
    text = part(head) + b"." + part(body)
    kind = HASHES.get(str(head["alg"]), hashlib.sha256)
    return (text + b"." + part(hmac.digest(secret.encode(), text, kind))).decode()


HOSTILE: dict[str, Callable[[str], str]] = {
    "no algorithm": lambda secret: signed(secret, {"alg": "none"}).rsplit(".", 1)[0] + ".",
    "no algorithm, but signed": lambda secret: signed(secret, {"alg": "none"}),
    "another HMAC": lambda secret: signed(secret, {"alg": "HS512"}),
    "an algorithm of public keys": lambda secret: signed(secret, {"alg": "RS256"}),
    "an algorithm that is not text": lambda secret: signed(secret, {"alg": ["HS256"]}),
    "an empty key": lambda secret: signed(""),
    "another key": lambda secret: signed(secret[::-1]),
    "a key of its own": lambda secret: signed("k", {"jwk": {"kty": "oct", "k": "aw"}, "kid": "../../dev/null"}),
    "something critical": lambda secret: signed(secret, {"crit": ["exp"]}),
    "no signature": lambda secret: signed(secret).rsplit(".", 1)[0],
    "an empty signature": lambda secret: signed(secret).rsplit(".", 1)[0] + ".",
    "a changed body": lambda secret: ".".join(
        [signed(secret).split(".")[0], part({"sub": "x", "scope": "admin"}).decode(), signed(secret).split(".")[2]]
    ),
    "expired": lambda secret: signed(secret, exp=int(time.time()) - 60),
    "not yet valid": lambda secret: signed(secret, nbf=int(time.time()) + 600),
    "without an expiry": lambda secret: signed(secret, leave_out="exp"),
    "without an issue time": lambda secret: signed(secret, leave_out="iat"),
    "without a subject": lambda secret: signed(secret, leave_out="sub"),
    "without an audience": lambda secret: signed(secret, leave_out="aud"),
    "without scopes": lambda secret: signed(secret, leave_out="scope"),
    "another audience": lambda secret: signed(secret, aud="somebody else"),
    "an expiry that is text": lambda secret: signed(secret, exp="never"),
    "an endless expiry": lambda secret: signed(secret, exp=1e999),
    "a subject that is a list": lambda secret: signed(secret, sub=["someone"]),
    "scopes that are a list": lambda secret: signed(secret, scope=["admin"]),
    "a body that is not an object": lambda secret: part({"alg": "HS256"}).decode() + "." + part(b"[]").decode() + ".x",
    "deep nesting": lambda secret: part(b"[" * 3000).decode() + "." + part(b"[" * 2000).decode() + ".x",
    "the secret and a space within": lambda secret: f"{secret} {secret}",
    "half the secret": lambda secret: secret[:32],
    "the secret in capitals": lambda secret: secret.upper() if secret.upper() != secret else "x",
}


def test_token_signed_by_another_program_is_accepted(launcher: Launcher) -> None:
    good = {"Authorization": f"Bearer {signed(launcher.secret)}"}
    assert launcher.client.get("/jobs", headers=good).status_code == 200
    assert launcher.client.get("/jobs", headers={"Authorization": f"bearer {launcher.secret}"}).status_code == 200


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_token_is_refused(launcher: Launcher, name: str) -> None:
    token = HOSTILE[name](launcher.secret)
    answer = launcher.client.get("/jobs", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert token not in answer.text
    ticket = launcher.client.get("/jobs/x/logs", params={"ticket": token}, headers={"Authorization": ""})
    assert ticket.status_code == 401


def test_unknown_scopes_grant_nothing(launcher: Launcher) -> None:
    token = signed(launcher.secret, scope="root ADMIN read,cancel")
    assert launcher.client.get("/jobs", headers={"Authorization": f"Bearer {token}"}).status_code == 403


def test_credential_is_accepted_only_in_the_header(launcher: Launcher) -> None:
    for way in (
        {"params": {"access_token": launcher.secret}},
        {"params": {"ticket": launcher.secret}},
        {"headers": {"Cookie": f"token={launcher.secret}", "Authorization": ""}},
        {"headers": {"X-Api-Key": launcher.secret, "Authorization": ""}},
        {"headers": {"Authorization": f"Token {launcher.secret}"}},
    ):
        options: dict[str, Any] = {"headers": {"Authorization": ""}, **way}
        assert launcher.client.get("/jobs", **options).status_code == 401


def test_unauthenticated_caller_cannot_tell_what_exists(launcher: Launcher) -> None:
    there = launcher.wait(launcher.run("1", pipeline="hello")["run_id"])["run_id"]
    for path in ("/jobs/{}/status", "/jobs/{}/logs", "/jobs/{}/log", "/artifacts/{}/CV.md"):
        known, unknown = (
            launcher.client.get(path.format(run_id), headers={"Authorization": "Bearer x"}) for run_id in (there, "no")
        )
        assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    body = {"job_id": "denied", "pipeline": "hello"}
    assert launcher.client.post("/jobs/run", json=body, headers={"Authorization": "Bearer x"}).status_code == 401
    assert launcher.client.get("/jobs", params={"job_id": "denied"}).json()["total"] == 0


def test_public_routes_reveal_no_secret_and_no_run(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("very-private", pipeline="hello")["run_id"])["run_id"]
    for path in ("/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"):
        answer = launcher.client.get(path, headers={"Authorization": ""})
        assert answer.status_code == 200
        for private in (launcher.secret, run_id, "very-private", str(launcher.directory)):
            assert private not in answer.text


def test_rate_limited_response_has_retry_after(tmp_path: Path) -> None:
    with Launcher(tmp_path, RATE_LIMIT_PER_MINUTE="5") as launcher:
        for _ in range(5):
            assert launcher.client.get("/jobs").status_code == 200
        refused = launcher.client.post("/jobs/run", json={"job_id": "1"})
        assert (refused.status_code, refused.headers["content-type"]) == (429, PROBLEM)
        assert int(refused.headers["retry-after"]) > 0
        assert "RATE_LIMIT_PER_MINUTE" in refused.json()["detail"]
        bare = {"Authorization": ""}
        assert launcher.client.get("/jobs", headers=bare).status_code == 401  # does not count towards that limit
        one, two = (Authenticator([launcher.secret]).token(name, [Scope.READ], seconds=60) for name in ("one", "two"))
        codes = [launcher.client.get("/jobs", headers={"Authorization": f"Bearer {one}"}).status_code for _ in range(6)]
        assert codes == [200] * 5 + [429]
        assert launcher.client.get("/jobs", headers={"Authorization": f"Bearer {two}"}).status_code == 200
        for open_to_all in ("/health", "/livez", "/readyz", "/metrics"):
            for _ in range(7):
                assert launcher.client.get(open_to_all).status_code == 200


def test_only_configured_origins_can_read_responses_including_errors(tmp_path: Path) -> None:
    with Launcher(tmp_path, CORS_ORIGINS="https://app.example.com") as launcher:

        def allowed(origin: str, **headers: str) -> str | None:
            answer = launcher.client.get("/jobs", headers={"Origin": origin, **headers})
            found: str | None = answer.headers.get("access-control-allow-origin")
            return found

        assert allowed("https://app.example.com") == "https://app.example.com"
        assert allowed("https://app.example.com", Authorization="") == "https://app.example.com"
        for other in ("https://app.example.com.evil.com", "http://app.example.com", "null", "https://APP.example.com"):
            assert allowed(other) is None
        preflight = launcher.client.options(
            "/jobs/run",
            headers={
                "Origin": "https://app.example.com",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, last-event-id",
                "Authorization": "",
            },
        )
        assert preflight.status_code == 200
        for header in ("authorization", "content-type", "idempotency-key", "last-event-id"):
            assert header in preflight.headers["access-control-allow-headers"].lower()


def test_without_configured_origins_no_cors_is_allowed(launcher: Launcher) -> None:
    answer = launcher.client.get("/jobs", headers={"Origin": "https://app.example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
