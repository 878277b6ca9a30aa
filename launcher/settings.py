"""The settings: immutable, read once from the environment. All errors are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from launcher.domain.errors import ConfigurationError
from launcher.domain.pipelines import Pipeline
from launcher.domain.setting_rules import (
    KEYS,
    MAKE_ONE,
    MIN_SECRET_BYTES,
    RULES,
    Unusable,
    number,
    strong_secret,
    typos,
    usable,
)
from launcher.folders import why_not_readable
from launcher.pipeline_entries import read_pipelines
from launcher.validation_errors import in_words

_SHARED_WITH_PIPELINE = frozenset({"MONGODB_URI", "APPLICATIONS_DIR"})

CommaSeparated = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: [part.strip() for part in v.split(",") if part.strip()] if isinstance(v, str) else v),
]


class SharedSettings(BaseModel):
    """The settings that launcher and operator share, named like their environment variables.

    An empty variable counts as not set.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    MAX_CONCURRENCY: int = Field(3, ge=1, le=1000, description="maximum number of active runs")
    PIPELINE_TIMEOUT_SECONDS: int = Field(
        600, ge=1, description="time limit of a run, in seconds, unless the request or the pipeline sets one"
    )
    TERMINATION_GRACE_SECONDS: float = Field(10, ge=0, description="time between SIGTERM and SIGKILL, in seconds")

    REDIS_URL: str | None = Field(None, repr=False, description="URL of Redis; if not set, its data is kept in memory")
    REDIS_TTL_SECONDS: int = Field(86400, ge=60, description="how long Redis keeps a finished run, in seconds")
    LOG_BUFFER_LIMIT: int = Field(
        500, ge=1, description="maximum number of lines of each log in Redis; the archive has all of them"
    )
    MONGODB_URI: str | None = Field(
        None, repr=False, description="connection string of MongoDB; if not set, the archive is the history"
    )

    ARCHIVE_DIR: Path = Field(Path("var/archive"), description="folder for logs and run records")
    APPLICATIONS_DIR: Path = Field(Path("applications"), description="folder for artifacts, with a subfolder per run")
    RETENTION_DAYS: float = Field(
        30, gt=0, description="how long archives, artifacts and pipeline_runs are kept, in days"
    )
    MAX_LOG_BYTES: int = Field(64 << 20, ge=1024, description="maximum size of a run's log, in bytes")
    MAX_ARTIFACT_BYTES: int = Field(256 << 20, ge=1024, description="maximum size of a run's artifacts, in bytes")
    MAX_ARTIFACT_FILES: int = Field(
        10_000, ge=1, description="maximum number of files, folders and links among a run's artifacts"
    )

    PIPELINES_FILE: Path | None = Field(None, description="YAML file with more pipelines")

    KUBE_NAMESPACE: str | None = Field(
        None, description="namespace of the runs; if not set, that of the account or context"
    )
    PIPELINE_IMAGE: str = Field(
        "localhost/slipway-pipeline:latest", min_length=1, description="image of pipelines that do not set one"
    )
    PIPELINE_EPHEMERAL_STORAGE: str = Field(
        "2Gi",
        pattern=r"^[1-9][0-9]*(\.[0-9]+)?(k|Ki|M|Mi|G|Gi|T|Ti)?$",
        description="disk space of a run's pod besides its artifacts, unless its pipeline sets it in resources",
    )
    DATA_CLAIM: str = Field(
        "slipway-data", description="PersistentVolumeClaim for the artifacts of all runs, in its folder applications"
    )
    PIPELINE_SECRET: str | None = Field(None, description="Secret with environment variables for the pipeline")
    CREDENTIALS_SECRET: str | None = Field(None, description="Secret that is mounted at /app/credentials")
    MASTER_CV_CONFIGMAP: str | None = Field(None, description="ConfigMap with the file master-cv.md for /app")
    IMAGE_PULL_SECRETS: CommaSeparated = Field((), description="Secrets for pulling images, comma-separated")
    START_GRACE_SECONDS: int = Field(
        600,
        ge=1,
        description="how long a pod may take to start its container, in seconds, in addition to the run's timeout",
    )

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], at_start: Callable[[Self], Mapping[str, str]] = lambda _: {}
    ) -> Self:
        """Read and validate all settings. `at_start` returns further errors, by setting, for the same list.

        Raises `ConfigurationError` that lists every error.
        """
        values, errors = cls._usable(environ)
        invalid = {name for name in cls.model_fields if environ.get(name)} - values.keys()
        try:
            settings = cls.model_validate(values)
        except ValidationError as exc:  # its own message repeats the values
            found = {str(error["loc"][0]): error for error in exc.errors(include_url=False, include_input=False)}
            errors += [_error_text(error) for error in found.values()]
            invalid |= found.keys()
            settings = cls.model_validate({name: value for name, value in values.items() if name not in found})
        combined = {**at_start(settings), **settings.errors()}
        errors += [error for name, error in combined.items() if name not in invalid]
        if errors:
            raise ConfigurationError("The settings are not valid:\n  " + "\n  ".join(errors))
        return settings

    @classmethod
    def notes(cls, environ: Mapping[str, str]) -> list[str]:
        """Return a note for each variable that looks like a mistyped setting."""
        return typos(environ, cls.model_fields.keys() | RULES.keys())

    @classmethod
    def _usable(cls, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        values: dict[str, str] = {}
        errors: list[str] = []
        for name in (*cls.model_fields, *KEYS):
            if text := environ.get(name):
                try:
                    values[name] = (
                        usable(name, text) if name in RULES else _number(name, text, cls.model_fields.get(name))
                    )
                except Unusable as exc:
                    errors.append(str(exc))
        return values, errors

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """All pipelines by name, always including `default`."""
        pipelines = {"default": Pipeline()}
        if self.PIPELINES_FILE:
            pipelines |= read_pipelines(self.PIPELINES_FILE)
        return pipelines

    def errors(self) -> dict[str, str]:
        """Return errors in combinations of settings, or in the files that they name; by setting."""
        try:
            _ = self.pipelines
        except ConfigurationError as exc:
            return {"PIPELINES_FILE": f"PIPELINES_FILE: {exc.message}"}
        return {}


class Settings(SharedSettings):
    """The launcher's settings."""

    SLIPWAY_ENV: Literal["production", "development"] = Field(
        "production", description="`production`, or `development`, which allows a short secret, or none on loopback"
    )
    RUNNER_API_SECRET: SecretStr | None = Field(
        None, description=f"secret that clients send or sign tokens with; at least {MIN_SECRET_BYTES} bytes"
    )
    RUNNER_API_SECRET_PREVIOUS: SecretStr | None = Field(None, description="second valid secret, during rotation")
    HOST: str = Field("127.0.0.1", description="address to listen on")
    PORT: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any free port")
    CORS_ORIGINS: CommaSeparated = Field(
        (), description="origins of web pages that may call the launcher, comma-separated"
    )
    RATE_LIMIT_PER_MINUTE: int = Field(6000, ge=1, description="maximum number of calls per minute and credential")
    TICKET_RATE_LIMIT_PER_MINUTE: int = Field(1200, ge=1, description="maximum number of calls per minute and ticket")
    MAX_STREAMS: int = Field(2000, ge=1, description="maximum number of open log streams; more are refused with 503")

    ENGINE: Literal["local", "kubernetes"] = Field(
        "local", description="`local`: child processes of the launcher; `kubernetes`: Jobs, with the operator"
    )
    MAX_QUEUED: int = Field(500, ge=1, description="maximum number of queued runs; more are refused with 429")
    MAX_BULK_ITEMS: int = Field(500, ge=1, description="maximum number of job_ids in a bulk request")
    MAX_TIMEOUT_SECONDS: int = Field(86400, ge=1, description="maximum timeout_seconds of a request")
    PIPELINE_MONGODB_URI: str | None = Field(
        None,
        repr=False,
        description="connection string that pipelines get as MONGODB_URI, for example of a user who can only read "
        "postings; if not set, they get the launcher's",
    )
    PIPELINE_DIR: Path = Field(Path("pipeline-image"), description="working directory of pipelines on the local engine")

    def errors(self) -> dict[str, str]:
        """See `SharedSettings`."""
        found = super().errors() | self._secret_errors()
        if self.ENGINE == "local" and (error := why_not_readable("PIPELINE_DIR", self.PIPELINE_DIR)):
            found["PIPELINE_DIR"] = f"{error}; it is the working directory of pipelines on the local engine"
        return found

    def _secret_errors(self) -> dict[str, str]:
        name = "RUNNER_API_SECRET"
        if self.SLIPWAY_ENV == "development":
            if self.RUNNER_API_SECRET is None and self.HOST not in ("127.0.0.1", "::1", "localhost"):
                return {
                    name: f"{name} is not set; it is required unless HOST is loopback (it is {self.HOST}); {MAKE_ONE}"
                }
            return {}
        errors = {} if self.RUNNER_API_SECRET else {name: f"{name} is not set; {MAKE_ONE}"}
        for name in ("RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS"):
            try:
                if given := getattr(self, name):
                    strong_secret(name, given.get_secret_value())
            except Unusable as exc:
                errors[name] = str(exc)
        return errors

    @property
    def secrets(self) -> tuple[str, ...]:
        """The valid secrets; none in development without a secret."""
        found = (self.RUNNER_API_SECRET, self.RUNNER_API_SECRET_PREVIOUS)
        return tuple(secret.get_secret_value() for secret in found if secret is not None)

    def environment_for_pipeline(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of pipelines on the local engine, without the launcher's own settings and secrets."""
        own = set(type(self).model_fields) - _SHARED_WITH_PIPELINE
        uri = {"MONGODB_URI": self.PIPELINE_MONGODB_URI} if self.PIPELINE_MONGODB_URI else {}
        return {name: value for name, value in environ.items() if name not in own} | uri


def _error_text(error: ErrorDetails) -> str:
    return ": ".join([*(str(part) for part in error["loc"][:1]), in_words(error)])


def _number(name: str, text: str, field: FieldInfo | None) -> str:
    """Validate a setting without its own rule: a number by the limits of its field, otherwise plain text."""
    if field is None or field.annotation not in (int, float):
        return usable(name, text)
    limits = {type(each).__name__: each for each in field.metadata}
    above = "Gt" in limits
    least = limits["Gt"].gt if above else limits["Ge"].ge if "Ge" in limits else 0
    most = limits["Le"].le if "Le" in limits else None
    return number(name, text, least, most, whole=field.annotation is int, above=above)
