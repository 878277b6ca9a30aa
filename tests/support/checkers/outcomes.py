"""The outcome checker: a run has exactly one outcome, in every store the same, equal to what Kubernetes reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from checkers.agreement import agreement_faults
from checkers.findings import Finding
from checkers.records import TERMINAL, OutcomeFault, RunRecords
from checkers.verdicts import verdict_faults

_ORDER = {"queued": 0, "running": 1, **dict.fromkeys(TERMINAL, 2)}

Observation = tuple[float | datetime, str, str | None]
"""The time, and the run's status and reason then."""


def check(records: RunRecords) -> list[Finding]:
    """Return everything that is wrong with the outcome of a run that should have finished."""
    return [*agreement_faults(records), *verdict_faults(records)]


def check_observations(run_id: str, observed: Sequence[Observation]) -> list[Finding]:
    """Return where a run's state, as one observer saw it, moved backwards or changed after it was terminal."""
    findings: list[Finding] = []
    reached: Observation | None = None
    for seen in observed:
        moment, status, reason = seen
        if status not in _ORDER:
            findings.append(Finding(OutcomeFault.UNKNOWN_STATUS, run_id, f"{moment}: {status}"))
            continue
        if reached is not None:
            detail = f"{moment}: {status}, {reason} after {reached[1]}, {reached[2]}"
            if reached[1] in TERMINAL:
                if (status, reason) != reached[1:]:
                    findings.append(Finding(OutcomeFault.TERMINAL_CHANGED, run_id, detail))
                continue
            if _ORDER[status] < _ORDER[reached[1]]:
                findings.append(Finding(OutcomeFault.MOVED_BACKWARDS, run_id, detail))
                continue
        reached = seen
    return findings
