"""Verifies finished runs with the checkers, even when Kubernetes no longer has their Jobs and pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.collecting import check_log, check_outcome
from checkers.findings import Finding, report
from checkers.log_history import LogFault
from checkers.watching import Watcher
from cluster.runs import recorded, until
from launching.installation import Installation

Run = dict[str, Any]


def with_bound_volume(installation: Installation) -> Installation:
    """Return an installation once its volume is bound, as waiting for it would use up a run's grace period."""
    bound = "--for=jsonpath={.status.phase}=Bound"
    installation.kubectl("wait", "persistentvolumeclaim/slipway-data", bound, "--timeout=60s")
    return installation


class RunVerifier:
    """Waits for an installation's runs and verifies them; a watcher remembers their Jobs and pods."""

    def __init__(self, installation: Installation, watcher: Watcher) -> None:
        self._installation, self._watcher = installation, watcher

    def wait(self, run_id: str, *, seconds: float = 90, deleted: bool | None = None, gaps_allowed: bool = False) -> Run:
        """Wait until a run is recorded, check its log and its outcome, and return it.

        Lines that are not the printer's are allowed. `deleted`: whether a test deleted the pod while it was running,
        which a deleted pod may no longer show.
        """
        run = self.wait_for_outcome(run_id, seconds=seconds, deleted=deleted)
        found = self._log_findings(run, gaps_allowed)
        assert not found, report(found)
        return run

    def wait_for_outcome(self, run_id: str, *, seconds: float = 90, deleted: bool | None = None) -> Run:
        """Like `wait`, without checking the log."""
        run = self._installation.launcher.wait(run_id, seconds)
        until(lambda: recorded(self._installation, run_id))
        found = self._outcome_findings(run_id, deleted)
        assert not found, report(found)
        return run

    def output(self, run_id: str) -> bytes:
        """Return a run's log without Slipway's first line."""
        text = self._installation.launcher.log(run_id)
        first, _, rest = text.partition(b"\n")
        assert b"Starting pipeline" in first
        return rest

    def _log_findings(self, run: Run, gaps_allowed: bool) -> list[Finding]:
        if run["log"] == {"lines": 0, "bytes": 0, "complete": True, "gaps": []}:
            assert self._installation.launcher.log(run["run_id"]) == b""
            return []
        found = check_log(self._installation, run["run_id"], None, gaps_allowed=gaps_allowed)
        return [finding for finding in found if finding.kind is not LogFault.ALTERED]

    def _outcome_findings(self, run_id: str, deleted: bool | None) -> list[Finding]:
        installation, watcher = self._installation, self._watcher
        return check_outcome(
            installation,
            run_id,
            job=installation.job(run_id) or self._last_checkable_job(run_id),
            pods=installation.pods(run_id) or watcher.last_pods(run_id),
            deleted=deleted,
        )

    def _last_checkable_job(self, run_id: str) -> Mapping[str, Any] | None:
        """Return the last state of a deleted Job; None if it was deleted before it was recorded and got a TTL."""
        job = self._watcher.last_job(run_id)
        if job is not None and "ttlSecondsAfterFinished" not in job["spec"]:
            return None
        return job
