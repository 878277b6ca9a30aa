"""Settings: defaults, all errors at once, secrets that stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.domain.errors import ConfigurationError
from launcher.settings import Settings
from pipeline_operator.settings import OperatorSettings

SECRET = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).resolve().parents[3]


def settings(**environ: str) -> Settings:
    return Settings.from_environment({"RUNNER_API_SECRET": SECRET, **environ})


def fault(**environ: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        Settings.from_environment(environ)
    return error.value.message


def test_only_the_secret_is_required() -> None:
    loaded = settings(PORT="", CORS_ORIGINS="")
    assert (loaded.PORT, loaded.MAX_CONCURRENCY, loaded.LOG_BUFFER_LIMIT, loaded.PIPELINE_TIMEOUT_SECONDS) == (
        8000,
        3,
        500,
        600,
    )
    assert loaded.CORS_ORIGINS == ()
    assert settings(CORS_ORIGINS="https://a.example, https://b.example,").CORS_ORIGINS == (
        "https://a.example",
        "https://b.example",
    )


def test_all_errors_are_reported_at_once() -> None:
    text = fault(
        PORT="x", MAX_CONCURRENCY="0", RUNNER_API_SECRET="short", PIPELINES_FILE="/no/such", PIPELINE_DIR="/no"
    )
    for name in ("PORT", "MAX_CONCURRENCY", "RUNNER_API_SECRET", "PIPELINES_FILE", "PIPELINE_DIR"):
        assert name in text


@pytest.mark.parametrize("secret", ["", "short", "x" * 64, "ab" * 32])
def test_production_requires_a_strong_secret_and_says_how_to_create_one(secret: str) -> None:
    assert "openssl rand -hex 32" in fault(RUNNER_API_SECRET=secret)
    assert "RUNNER_API_SECRET_PREVIOUS" in fault(RUNNER_API_SECRET=SECRET, RUNNER_API_SECRET_PREVIOUS=secret or "x")


def test_development_allows_a_short_secret_or_none_on_loopback() -> None:
    assert Settings.from_environment({"SLIPWAY_ENV": "development", "RUNNER_API_SECRET": "s"}).secrets == ("s",)
    assert Settings.from_environment({"SLIPWAY_ENV": "development"}).secrets == ()
    assert "loopback" in fault(SLIPWAY_ENV="development", HOST="0.0.0.0")
    assert "SLIPWAY_ENV" in fault(SLIPWAY_ENV="dev", RUNNER_API_SECRET=SECRET)


def test_secrets_are_never_shown() -> None:
    loaded = settings(RUNNER_API_SECRET_PREVIOUS=SECRET[::-1])
    assert loaded.secrets == (SECRET, SECRET[::-1])
    assert SECRET not in repr(loaded) + str(loaded.model_dump())
    assert SECRET not in fault(RUNNER_API_SECRET=SECRET, PORT="x")


def test_pipeline_does_not_inherit_the_launchers_settings() -> None:
    own = {
        *("OPENAI_API_KEY", "OPENROUTER_API_KEY", "OPENAI_BASE_URL", "MODEL", "PROFILES_DIR", "FIRECRAWL_API_KEY"),
        *("LANGCHAIN_TRACING_V2", "LANGCHAIN_API_KEY", "LANGCHAIN_PROJECT"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_DRIVE_FOLDER_ID", "GOOGLE_SHEET_ID"),
    }
    inherited = settings().environment_for_pipeline(dict.fromkeys({*Settings.model_fields, *own}, "x"))
    assert set(inherited) == {*own, "MONGODB_URI", "APPLICATIONS_DIR"}


def test_pipeline_gets_its_own_mongodb_uri_if_there_is_one() -> None:
    environ = {"MONGODB_URI": "mongodb://writer@h/", "PIPELINE_MONGODB_URI": "mongodb://reader@h/"}
    assert settings(**environ).environment_for_pipeline(environ) == {"MONGODB_URI": "mongodb://reader@h/"}
    alone = {"PIPELINE_MONGODB_URI": "mongodb://reader@h/"}
    assert settings(**alone).environment_for_pipeline(alone) == {"MONGODB_URI": "mongodb://reader@h/"}
    shared = {"MONGODB_URI": "mongodb://writer@h/"}
    assert settings(**shared).environment_for_pipeline(shared) == shared


@pytest.mark.parametrize("name", list(Settings.model_fields | OperatorSettings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert (Settings.model_fields | OperatorSettings.model_fields)[name].description
    assert f"{name}=" in (ROOT / ".env.example").read_text()
