"""Reads and validates the pipelines in a YAML file, so that mistakes are found at startup."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from launcher.domain.errors import ConfigurationError
from launcher.domain.pipelines import DEFAULT_ARTIFACTS, ExitMeaning, Pipeline
from launcher.domain.reasons import Reason
from launcher.validation_errors import in_words

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
"""The common forms of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
_POD_FIELDS = re.compile(r"user|group|security|privileged|capabilit|host|volume|mount|seccomp|service_?account", re.I)
"""Matches pod settings of Kubernetes, Docker and Compose, which an entry cannot set."""

_MAX_FILE_BYTES = 1 << 20
_Word = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]
_Amounts = dict[str, str | int | float]
_ExitCode = Annotated[int, Field(ge=1, le=255)]


class ExitCodeEntry(BaseModel):
    """The meaning of an exit code."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$")
    message: str = Field(min_length=1, max_length=500)

    @field_validator("reason")
    @classmethod
    def _is_not_built_in(cls, reason: str) -> str:
        if reason in set(Reason):
            raise ValueError(f"{reason} is one of Slipway's reasons; choose another name")
        return reason


class PipelineEntry(BaseModel):
    """One entry, with the fields of `Pipeline`. It cannot change the pod, which is the same for all."""

    model_config = ConfigDict(extra="forbid")

    command: list[_Word] = Field(min_length=1)
    artifacts: dict[str, _FileName] = Field(default_factory=lambda: dict(DEFAULT_ARTIFACTS))
    timeout_seconds: int | None = Field(None, ge=1)
    image: str | None = Field(None, min_length=1, pattern=r"^\S+$")
    resources: dict[str, _Amounts] = Field(default_factory=dict)
    exit_codes: dict[_ExitCode, ExitCodeEntry] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _sets_no_pod_fields(cls, entry: object) -> object:
        pod_fields = (
            [str(name) for name in entry if _POD_FIELDS.search(str(name))] if isinstance(entry, Mapping) else []
        )
        if pod_fields:
            raise ValueError(
                f"{', '.join(pod_fields)} cannot be set: each run's pod is PodSecurity restricted and runs as user "
                "10001 with a read-only root file system; build the image for any user, and write only to "
                "APPLICATIONS_DIR and /tmp"
            )
        return entry

    @field_validator("command")
    @classmethod
    def _names_a_program(cls, command: list[str]) -> list[str]:
        if not command[0] or "{profile}" in command[0]:
            raise ValueError("the first word must be a program; words with {profile} are left out without a profile")
        return command

    @field_validator("resources")
    @classmethod
    def _are_resources(cls, resources: dict[str, _Amounts]) -> dict[str, _Amounts]:
        if unknown := sorted(resources.keys() - {"requests", "limits"}):
            raise ValueError(f"{', '.join(unknown)}: only requests and limits can be set")
        for kind, amounts in resources.items():
            for name, amount in amounts.items():
                if not _QUANTITY.fullmatch(str(amount)):
                    raise ValueError(f"{kind}.{name}: {amount!r} is not a valid quantity, for example 500m, 2 or 1Gi")
        return resources

    def pipeline(self, name: str) -> Pipeline:
        """Return the pipeline that the entry describes."""
        meanings = {code: ExitMeaning(**entry.model_dump()) for code, entry in self.exit_codes.items()}
        return Pipeline(name=name, **self.model_dump(exclude={"exit_codes"}), exit_codes=meanings)


def read_pipelines(path: Path) -> dict[str, Pipeline]:
    """Return the pipelines in a file. Raises `ConfigurationError`, which lists all errors."""
    try:
        document: Any = yaml.safe_load(_text_of(path))
    except RecursionError:
        raise ConfigurationError(f"{path} cannot be read: it is nested too deep") from None
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must map each pipeline's name to its entry")
    found: dict[str, Pipeline] = {}
    errors: list[str] = []
    for name, entry in document.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            errors.append(f"{name!r} is not a valid name: use at most 63 lower-case letters, digits and hyphens")
            continue
        try:
            found[name] = PipelineEntry.model_validate(entry).pipeline(name)
        except ValidationError as exc:
            errors += [_error_text(name, error) for error in exc.errors()]
    if errors:
        raise ConfigurationError(f"{path}: " + "; ".join(errors))
    return found


def _text_of(path: Path) -> str:
    """Read a file. Raises `ValueError` for a FIFO or a device, which could block or never end, and for a huge file."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
        raise ValueError("it is not a regular file, or it is too large")
    return path.read_text()


def _error_text(name: str, error: ErrorDetails) -> str:
    field = ".".join([name, *map(str, error["loc"])])
    return f"{field}: {in_words(error)}"
