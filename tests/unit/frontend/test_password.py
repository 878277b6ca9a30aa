from __future__ import annotations

import secrets
import subprocess

import pytest

from frontend.config import ConfigurationError, read_config
from frontend.password import HOW_TO_MAKE_ONE, weakness

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("open sesame", "fewer than 12"),
        ("x", "fewer than 12"),
        (SECRET, "same as RUNNER_API_SECRET"),
        ("correct horse battery\n", "line break"),
        (" correct horse battery", "space"),
        ("aaaaaaaaaaaaaaaa", "guess"),
        ("abababababab", "guess"),
        ("123412341234", "guess"),
        ("123456789012", "guess"),
        ("abcdefghijklmn", "guess"),
        ("098765432109", "guess"),
        ("password1234", "guess"),
        ("Password-of-ours", "guess"),
        ("P@ssw0rd2026!", "guess"),
        ("changeme-changeme", "guess"),
        ("qwertyqwerty", "guess"),
        ("slipway-admin-2026", "guess"),
        ("your-password-here", "guess"),
        ("Passwort123456", "guess"),
        ("$ecret-secret", "guess"),
    ],
)
def test_weak_password_is_rejected_with_the_reason(password: str, reason: str) -> None:
    assert reason in weakness(password, SECRET)


@pytest.mark.parametrize("password", ["open sesame", "changeme-changeme", SECRET])
def test_production_requires_a_strong_password(password: str) -> None:
    environment = {"FRONTEND_PASSWORD": password, "RUNNER_API_SECRET": SECRET}
    with pytest.raises(ConfigurationError, match="FRONTEND_PASSWORD ") as refused:
        read_config(environment, "0.0.0.0")
    assert str(refused.value).endswith(HOW_TO_MAKE_ONE)
    assert password not in str(refused.value)
    assert read_config(environment | {"SLIPWAY_ENV": "development"}, "127.0.0.1").password == password


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "tulip-anchor-92",
        "secret garden of tulips",
        "Prüfstand am Fluß",
        "930175264880",
        "求人応募履歴書東京大阪京都",
    ],
)
def test_strong_password_is_accepted(password: str) -> None:
    assert weakness(password, SECRET) == ""


def test_generated_password_is_accepted() -> None:
    command = HOW_TO_MAKE_ONE.removeprefix("Generate one with: ").split()
    generated = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert weakness(generated, SECRET) == "" == weakness(secrets.token_urlsafe(9), SECRET)
