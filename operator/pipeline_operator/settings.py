"""The operator's settings: those it shares with the launcher, and its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from pydantic import Field

from launcher.domain.reasons import Reason
from launcher.settings import SharedSettings


class OperatorSettings(SharedSettings):
    """Each setting has the name of its environment variable. An empty variable counts as unset."""

    IMAGE_GRACE_SECONDS: int = Field(
        120, ge=0, description="how long to wait for an image that can't be pulled, in seconds"
    )
    UNSCHEDULABLE_GRACE_SECONDS: int = Field(
        300, ge=0, description="how long to wait for a node with enough room, in seconds"
    )
    CANNOT_START_GRACE_SECONDS: int = Field(
        120, ge=0, description="how long to wait for a pod or container that can't be created, in seconds"
    )
    JOB_TTL_SECONDS: int = Field(
        86400, ge=0, description="how long a finished Job, its pod and its kubectl logs are kept, in seconds"
    )
    PROBE_HOST: str = Field("127.0.0.1", description="address of the operator's /healthz and /metrics")
    PROBE_PORT: int = Field(
        0, ge=0, le=65534, description="port of /healthz; /metrics is on the next port; 0 turns both off"
    )

    @cached_property
    def grace_seconds(self) -> Mapping[Reason, float]:
        """How long a run may wait for each reason; 0 for all others."""
        return {
            Reason.IMAGE_PULL: self.IMAGE_GRACE_SECONDS,
            Reason.UNSCHEDULABLE: self.UNSCHEDULABLE_GRACE_SECONDS,
            Reason.CANNOT_START: self.CANNOT_START_GRACE_SECONDS,
        }
