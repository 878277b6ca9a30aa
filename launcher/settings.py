"""The settings: frozen objects, read from the environment once, all faults reported at once."""

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
from launcher.folders import fault_of_reading
from launcher.pipeline_entries import read_pipelines

_SHARED_WITH_PIPELINE = frozenset({"MONGODB_URI", "APPLICATIONS_DIR"})

CommaSeparated = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: [part.strip() for part in v.split(",") if part.strip()] if isinstance(v, str) else v),
]


class SharedSettings(BaseModel):
    """What launcher and operator are both told. Each setting bears the name of its environment variable.

    An empty variable counts as not set.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    MAX_CONCURRENCY: int = Field(3, ge=1, le=1000, description="runs at a time")
    PIPELINE_TIMEOUT_SECONDS: int = Field(600, ge=1, description="seconds a run may take, where it does not say itself")
    TERMINATION_GRACE_SECONDS: float = Field(10, ge=0, description="seconds between SIGTERM and SIGKILL")

    REDIS_URL: str | None = Field(None, repr=False, description="redis://…; not set: in memory")
    REDIS_TTL_SECONDS: int = Field(86400, ge=60, description="seconds that Redis keeps a run that has ended")
    LOG_BUFFER_LIMIT: int = Field(500, ge=1, description="lines of each log in Redis; the archive has them all")
    MONGODB_URI: str | None = Field(None, repr=False, description="mongodb://…; not set: the archive is the history")

    ARCHIVE_DIR: Path = Field(Path("var/archive"), description="folder of logs and run records")
    APPLICATIONS_DIR: Path = Field(Path("applications"), description="folder of artifacts, one folder a run")
    RETENTION_DAYS: float = Field(30, gt=0, description="days that archives, artifacts and pipeline_runs are kept")
    MAX_LOG_BYTES: int = Field(64 << 20, ge=1024, description="bytes of log kept per run")
    MAX_ARTIFACT_BYTES: int = Field(256 << 20, ge=1024, description="bytes of artifacts a run may write")
    MAX_ARTIFACT_FILES: int = Field(
        10_000, ge=1, description="files, folders and links a run may make among its artifacts"
    )

    PIPELINES_FILE: Path | None = Field(None, description="YAML with more pipelines: name, command, artifacts, timeout")

    KUBE_NAMESPACE: str | None = Field(
        None, description="namespace of the runs; not set: the account's or context's own"
    )
    PIPELINE_IMAGE: str = Field(
        "localhost/slipway-pipeline:latest", min_length=1, description="image of pipelines that name none"
    )
    PIPELINE_EPHEMERAL_STORAGE: str = Field(
        "2Gi",
        pattern=r"^[1-9][0-9]*(\.[0-9]+)?(k|Ki|M|Mi|G|Gi|T|Ti)?$",
        description="disk that a run's pod may fill beside its artifacts, where its pipeline's resources do not say",
    )
    DATA_CLAIM: str = Field(
        "slipway-data", description="PersistentVolumeClaim with the artifacts of all runs, in its folder applications"
    )
    PIPELINE_SECRET: str | None = Field(None, description="Secret whose keys are the pipeline's environment")
    CREDENTIALS_SECRET: str | None = Field(None, description="Secret that the pipeline finds in /app/credentials")
    MASTER_CV_CONFIGMAP: str | None = Field(None, description="ConfigMap whose master-cv.md the pipeline finds in /app")
    IMAGE_PULL_SECRETS: CommaSeparated = Field((), description="Secrets for pulling images, comma-separated")
    START_GRACE_SECONDS: int = Field(
        600, ge=1, description="seconds a pod may take to start its container, beside the run's timeout"
    )

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], at_start: Callable[[Self], Mapping[str, str]] = lambda _: {}
    ) -> Self:
        """Read and check all settings. `at_start` adds what else is wrong with them, by setting, to the one list.

        Raises `ConfigurationError` that names every fault.
        """
        values, faults = cls._usable(environ)
        wrong = {name for name in cls.model_fields if environ.get(name)} - values.keys()
        try:
            settings = cls.model_validate(values)
        except ValidationError as exc:  # its own text repeats what it was given
            found = {str(fault["loc"][0]): fault for fault in exc.errors(include_url=False, include_input=False)}
            faults += [_fault_text(fault) for fault in found.values()]
            wrong |= found.keys()
            settings = cls.model_validate({name: value for name, value in values.items() if name not in found})
        together = {**at_start(settings), **settings.faults()}
        faults += [fault for name, fault in together.items() if name not in wrong]
        if faults:
            raise ConfigurationError("The settings are wrong:\n  " + "\n  ".join(faults))
        return settings

    @classmethod
    def notes(cls, environ: Mapping[str, str]) -> list[str]:
        """Return what looks like a setting that is mistyped."""
        return typos(environ, cls.model_fields.keys() | RULES.keys())

    @classmethod
    def _usable(cls, environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
        values: dict[str, str] = {}
        faults: list[str] = []
        for name in (*cls.model_fields, *KEYS):
            if text := environ.get(name):
                try:
                    values[name] = (
                        usable(name, text) if name in RULES else _number(name, text, cls.model_fields.get(name))
                    )
                except Unusable as exc:
                    faults.append(str(exc))
        return values, faults

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """Every pipeline by name; the default one is always there."""
        pipelines = {"default": Pipeline()}
        if self.PIPELINES_FILE:
            pipelines |= read_pipelines(self.PIPELINES_FILE)
        return pipelines

    def faults(self) -> dict[str, str]:
        """Return what several settings together, or the files that they name, have wrong; by setting."""
        try:
            _ = self.pipelines
        except ConfigurationError as exc:
            return {"PIPELINES_FILE": f"PIPELINES_FILE: {exc.message}"}
        return {}


class Settings(SharedSettings):
    """The launcher's settings."""

    SLIPWAY_ENV: Literal["production", "development"] = Field(
        "production", description="development allows a short secret, or none on loopback"
    )
    RUNNER_API_SECRET: SecretStr | None = Field(
        None, description=f"the secret that callers send or sign with; at least {MIN_SECRET_BYTES} bytes"
    )
    RUNNER_API_SECRET_PREVIOUS: SecretStr | None = Field(None, description="a second valid secret, while rotating")
    HOST: str = Field("127.0.0.1", description="address to listen on")
    PORT: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    CORS_ORIGINS: CommaSeparated = Field((), description="origins that browsers may call from, comma-separated")
    RATE_LIMIT_PER_MINUTE: int = Field(6000, ge=1, description="calls per minute and credential")
    TICKET_RATE_LIMIT_PER_MINUTE: int = Field(1200, ge=1, description="calls per minute and ticket")
    MAX_STREAMS: int = Field(2000, ge=1, description="log streams open at a time; more are refused with 503")

    ENGINE: Literal["local", "kubernetes"] = Field(
        "local", description="local: child processes of the launcher; kubernetes: Jobs, with the operator"
    )
    MAX_QUEUED: int = Field(500, ge=1, description="runs waiting at a time; more are refused with 429")
    MAX_BULK_ITEMS: int = Field(500, ge=1, description="job_ids in one run-bulk call")
    MAX_TIMEOUT_SECONDS: int = Field(86400, ge=1, description="seconds a run may ask for")
    PIPELINE_DIR: Path = Field(Path("pipeline-image"), description="folder that the local engine runs pipelines in")

    def faults(self) -> dict[str, str]:
        """See `SharedSettings`."""
        found = super().faults() | self._secret_faults()
        if self.ENGINE == "local" and (fault := fault_of_reading("PIPELINE_DIR", self.PIPELINE_DIR)):
            found["PIPELINE_DIR"] = f"{fault}; the local engine runs pipelines in it"
        return found

    def _secret_faults(self) -> dict[str, str]:
        name = "RUNNER_API_SECRET"
        if self.SLIPWAY_ENV == "development":
            if self.RUNNER_API_SECRET is None and self.HOST not in ("127.0.0.1", "::1", "localhost"):
                return {name: f"{name}: without one, HOST must be loopback, not {self.HOST}; {MAKE_ONE}"}
            return {}
        faults = {} if self.RUNNER_API_SECRET else {name: f"{name} is not set; {MAKE_ONE}"}
        for name in ("RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS"):
            try:
                if given := getattr(self, name):
                    strong_secret(name, given.get_secret_value())
            except Unusable as exc:
                faults[name] = str(exc)
        return faults

    @property
    def secrets(self) -> tuple[str, ...]:
        """The valid secrets; none where development goes without."""
        found = (self.RUNNER_API_SECRET, self.RUNNER_API_SECRET_PREVIOUS)
        return tuple(secret.get_secret_value() for secret in found if secret is not None)

    def environment_for_pipeline(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what a pipeline on the local engine may see: all but the launcher's own settings and secrets."""
        own = set(type(self).model_fields) - _SHARED_WITH_PIPELINE
        return {name: value for name, value in environ.items() if name not in own}


def _fault_text(fault: ErrorDetails) -> str:
    return ": ".join([*(str(part) for part in fault["loc"][:1]), fault["msg"].removeprefix("Value error, ")])


def _number(name: str, text: str, field: FieldInfo | None) -> str:
    """Check a setting without a rule of its own: a number by the limits of its field, else a plain text."""
    if field is None or field.annotation not in (int, float):
        return usable(name, text)
    limits = {type(each).__name__: each for each in field.metadata}
    above = "Gt" in limits
    least = limits["Gt"].gt if above else limits["Ge"].ge if "Ge" in limits else 0
    most = limits["Le"].le if "Le" in limits else None
    return number(name, text, least, most, whole=field.annotation is int, above=above)
