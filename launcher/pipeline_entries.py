"""Pipelines from a YAML file: what an entry may say, and what is refused before any run could fail of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from launcher.domain.errors import ConfigurationError
from launcher.domain.pipelines import DEFAULT_ARTIFACTS, ExitMeaning, Pipeline
from launcher.domain.reasons import Reason

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
"""What people write of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
_OF_THE_POD = re.compile(r"user|group|security|privileged|capabilit|host|volume|mount|seccomp|service_?account", re.I)
"""Names of what an entry may not ask for, in the words of Kubernetes, Docker and compose."""

_FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]
_Amounts = dict[str, str | int | float]
_ExitCode = Annotated[int, Field(ge=1, le=255)]


class ExitCodeEntry(BaseModel):
    """What an entry says of one exit code."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$")
    message: str = Field(min_length=1, max_length=500)

    @field_validator("reason")
    @classmethod
    def _is_not_ours(cls, reason: str) -> str:
        if reason in set(Reason):
            raise ValueError(f"{reason} is a reason of Slipway's own; give the pipeline's another name")
        return reason


class PipelineEntry(BaseModel):
    """One entry. Fields as in `Pipeline`; the pod itself is Slipway's affair, and the same for all of them."""

    model_config = ConfigDict(extra="forbid")

    command: list[str] = Field(min_length=1)
    artifacts: dict[str, _FileName] = Field(default_factory=lambda: dict(DEFAULT_ARTIFACTS))
    timeout_seconds: int | None = Field(None, ge=1)
    image: str | None = Field(None, min_length=1, pattern=r"^\S+$")
    resources: dict[str, _Amounts] = Field(default_factory=dict)
    exit_codes: dict[_ExitCode, ExitCodeEntry] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _asks_for_no_pod_of_its_own(cls, entry: object) -> object:
        wanted = [str(name) for name in entry if _OF_THE_POD.search(str(name))] if isinstance(entry, Mapping) else []
        if wanted:
            raise ValueError(
                f"{', '.join(wanted)} cannot be chosen: each run's pod keeps to PodSecurity restricted and runs as "
                "user 10001 with a read-only root; build the image so that any user can run it, and write to "
                "APPLICATIONS_DIR and /tmp alone"
            )
        return entry

    @field_validator("resources")
    @classmethod
    def _are_resources(cls, resources: dict[str, _Amounts]) -> dict[str, _Amounts]:
        if unknown := sorted(resources.keys() - {"requests", "limits"}):
            raise ValueError(f"{', '.join(unknown)}: only requests and limits are possible")
        for kind, amounts in resources.items():
            for name, amount in amounts.items():
                if not _QUANTITY.fullmatch(str(amount)):
                    raise ValueError(f"{kind}.{name}: {amount!r} is no amount; write it as 500m, 2 or 1Gi")
        return resources

    def pipeline(self, name: str) -> Pipeline:
        """Return the pipeline that the entry describes."""
        meanings = {code: ExitMeaning(**said.model_dump()) for code, said in self.exit_codes.items()}
        return Pipeline(name=name, **self.model_dump(exclude={"exit_codes"}), exit_codes=meanings)


def read_pipelines(path: Path) -> dict[str, Pipeline]:
    """Return the pipelines that a file names. Raises `ConfigurationError` with every fault, each with its entry."""
    try:
        document: Any = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} must map the name of each pipeline to its entry")
    found: dict[str, Pipeline] = {}
    faults: list[str] = []
    for name, entry in document.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            faults.append(f"{name!r} is no name: lower-case letters, digits and hyphens, at most 63")
            continue
        try:
            found[name] = PipelineEntry.model_validate(entry).pipeline(name)
        except ValidationError as exc:
            faults += [_fault_text(name, fault) for fault in exc.errors()]
    if faults:
        raise ConfigurationError(f"{path}: " + "; ".join(faults))
    return found


def _fault_text(name: str, fault: ErrorDetails) -> str:
    place = ".".join([name, *map(str, fault["loc"])])
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
