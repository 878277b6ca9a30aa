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
        120, ge=0, description="seconds that a run waits for an image that cannot be pulled"
    )
    UNSCHEDULABLE_GRACE_SECONDS: int = Field(300, ge=0, description="seconds that a run waits for room on a node")
    CANNOT_START_GRACE_SECONDS: int = Field(
        120, ge=0, description="seconds that a run waits for a pod or container that cannot be created"
    )
    JOB_TTL_SECONDS: int = Field(
        86400, ge=0, description="seconds that a finished Job, its pod and its `kubectl logs` are kept"
    )
    PROBE_HOST: str = Field("127.0.0.1", description="address of the operator's /healthz and /metrics")
    PROBE_PORT: int = Field(0, ge=0, le=65534, description="port of /healthz, and one above it of /metrics; 0: neither")

    @cached_property
    def grace_seconds(self) -> Mapping[Reason, float]:
        """How long a run may wait for each reason; 0 for all others."""
        return {
            Reason.IMAGE_PULL: self.IMAGE_GRACE_SECONDS,
            Reason.UNSCHEDULABLE: self.UNSCHEDULABLE_GRACE_SECONDS,
            Reason.CANNOT_START: self.CANNOT_START_GRACE_SECONDS,
        }
