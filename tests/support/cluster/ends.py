"""How runs ended: waits for their record and asks the checkers, also for what Kubernetes has no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.collecting import check_log, check_outcome
from checkers.findings import Finding, report
from checkers.loghistory import LogFault
from checkers.watching import Watcher
from cluster.runs import recorded, until
from launching.installation import Installation

Run = dict[str, Any]


def with_its_volume(installation: Installation) -> Installation:
    """Return an installation once its volume is there: a grace for what cannot be scheduled is not for that."""
    bound = "--for=jsonpath={.status.phase}=Bound"
    installation.kubectl("wait", "persistentvolumeclaim/slipway-data", bound, "--timeout=60s")
    return installation


class Ends:
    """The ends of an installation's runs, with a watcher's memory of their Jobs and pods."""

    def __init__(self, installation: Installation, watcher: Watcher) -> None:
        self._installation, self._watcher = installation, watcher

    def of(self, run_id: str, *, seconds: float = 90, deleted: bool | None = None, gaps_allowed: bool = False) -> Run:
        """Return a run once its end is recorded everywhere and nobody contradicts it.

        The checkers find nothing but lines that no printer printed. `deleted`: whether a test deleted the pod while it
        ran; a pod that is gone may no longer say so.
        """
        run = self.outcome_of(run_id, seconds=seconds, deleted=deleted)
        found = self._log_findings(run, gaps_allowed)
        assert not found, report(found)
        return run

    def outcome_of(self, run_id: str, *, seconds: float = 90, deleted: bool | None = None) -> Run:
        """Return a run as `of` does, whatever its log is."""
        run = self._installation.launcher.wait(run_id, seconds)
        until(lambda: recorded(self._installation, run_id))
        found = self._outcome_findings(run_id, deleted)
        assert not found, report(found)
        return run

    def printed(self, run_id: str) -> bytes:
        """Return what a run's log holds after Slipway's first line."""
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
            job=installation.job(run_id) or self._job_before_its_end(run_id),
            pods=installation.pods(run_id) or watcher.last_pods(run_id),
            deleted=deleted,
        )

    def _job_before_its_end(self, run_id: str) -> Mapping[str, Any] | None:
        """Return a Job that is gone; one that went before its run's end was recorded has no TTL to be held against."""
        job = self._watcher.last_job(run_id)
        if job is not None and "ttlSecondsAfterFinished" not in job["spec"]:
            return None
        return job
