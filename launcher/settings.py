"""The settings: frozen objects, read from the environment once, all faults reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from launcher.domain.errors import ConfigurationError
from launcher.domain.pipelines import Pipeline
from launcher.pipeline_entries import read_pipelines

MIN_SECRET_BYTES = 32
_SHARED_WITH_PIPELINE = frozenset({"MONGODB_URI", "APPLICATIONS_DIR"})
_HOW_TO_MAKE_ONE = "make one with: openssl rand -hex 32"

CommaSeparated = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: [part.strip() for part in v.split(",") if part.strip()] if isinstance(v, str) else v),
]


class SharedSettings(BaseModel):
    """What launcher and operator are both told. Each setting bears the name of its environment variable.

    An empty variable counts as not set.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    MAX_CONCURRENCY: int = Field(3, ge=1, le=1000, description="runs at a time")
    PIPELINE_TIMEOUT_SECONDS: int = Field(600, ge=1, description="seconds a run may take, where it does not say itself")
    TERMINATION_GRACE_SECONDS: float = Field(10, ge=0, description="seconds between SIGTERM and SIGKILL")

    REDIS_URL: str | None = Field(None, pattern=r"^(redis|rediss|unix)://", description="redis://…; not set: in memory")
    REDIS_TTL_SECONDS: int = Field(86400, ge=60, description="seconds that Redis keeps a run that has ended")
    LOG_BUFFER_LIMIT: int = Field(500, ge=1, description="lines of each log in Redis; the archive has them all")
    MONGODB_URI: str | None = Field(
        None, pattern=r"^mongodb(\+srv)?://", description="mongodb://…; not set: the archive is the history"
    )

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
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read and check all settings. Raises `ConfigurationError` that names every fault."""
        values = {name: value for name, value in environ.items() if value != ""}
        faults: list[str] = []
        while True:
            try:
                settings = cls.model_validate(values)
            except ValidationError as exc:
                found = exc.errors()
                faults += [_fault_text(fault) for fault in found]
                wrong = {str(fault["loc"][0]) for fault in found if fault["loc"]}
                values = {name: value for name, value in values.items() if name not in wrong}
                if wrong:  # once more without them: what several settings together have wrong shows only then
                    continue
            if faults:
                raise ConfigurationError("The settings are wrong:\n  " + "\n  ".join(faults))
            return settings

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """Every pipeline by name; the default one is always there."""
        pipelines = {"default": Pipeline()}
        if self.PIPELINES_FILE:
            pipelines |= read_pipelines(self.PIPELINES_FILE)
        return pipelines

    def faults(self) -> list[str]:
        """Return what several settings together, or the files that they name, have wrong."""
        try:
            _ = self.pipelines
        except ConfigurationError as exc:
            return [f"PIPELINES_FILE: {exc.message}"]
        return []

    @model_validator(mode="after")
    def _check(self) -> Self:
        if faults := self.faults():
            raise ValueError("\n  ".join(faults))
        return self


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
    TICKET_RATE_LIMIT_PER_MINUTE: int = Field(300, ge=1, description="calls per minute and ticket")
    MAX_STREAMS: int = Field(2000, ge=1, description="log streams open at a time; more are refused with 503")

    ENGINE: Literal["local", "kubernetes"] = Field(
        "local", description="local: child processes of the launcher; kubernetes: Jobs, with the operator"
    )
    MAX_QUEUED: int = Field(500, ge=1, description="runs waiting at a time; more are refused with 429")
    MAX_BULK_ITEMS: int = Field(500, ge=1, description="job_ids in one run-bulk call")
    MAX_TIMEOUT_SECONDS: int = Field(86400, ge=1, description="seconds a run may ask for")
    PIPELINE_DIR: Path = Field(Path("pipeline-image"), description="folder that the local engine runs pipelines in")

    def faults(self) -> list[str]:
        """See `SharedSettings`."""
        faults = [*super().faults(), *self._secret_faults()]
        if self.ENGINE == "local" and not self.PIPELINE_DIR.is_dir():
            faults.append(f"PIPELINE_DIR: {self.PIPELINE_DIR} is no folder; the local engine runs pipelines in it")
        return faults

    def _secret_faults(self) -> list[str]:
        if self.SLIPWAY_ENV == "development":
            if self.RUNNER_API_SECRET is None and self.HOST not in ("127.0.0.1", "::1", "localhost"):
                return [f"RUNNER_API_SECRET: without one, HOST must be loopback, not {self.HOST}; {_HOW_TO_MAKE_ONE}"]
            return []
        if self.RUNNER_API_SECRET is None:
            return [f"RUNNER_API_SECRET is not set; {_HOW_TO_MAKE_ONE}"]
        return [
            f"{name} has fewer than {MIN_SECRET_BYTES} bytes, or repeats a few characters; {_HOW_TO_MAKE_ONE}"
            for name in ("RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS")
            if (secret := getattr(self, name)) is not None and not _good(secret.get_secret_value())
        ]

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


def _good(secret: str) -> bool:
    return len(secret.encode()) >= MIN_SECRET_BYTES and len(set(secret)) >= 8
