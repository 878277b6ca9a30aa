"""Texts in the front end's templates and scripts that tests look for. Other sentences are constants of the product."""

from __future__ import annotations

NO_POSTINGS = "No postings match."
NO_MORE_POSTINGS = "no more postings"
NO_RUNS = "No runs match."
NO_MORE_RUNS = "no more runs"
NO_JOB_ID = "jobId is missing"
NOT_YET_RUN = "not yet run"
NOT_STARTED = "was not started"
SLOTS_IN_USE = "slots in use"
EMPTY_FILE = "This file is empty"
CONNECTION_LOST = "Connection lost"

SEARCH = "Search"
CLEAR_FILTERS = "Clear filters"
PROCESS_SELECTED = "Process selected"
CANCEL_RUN = "Cancel run"
RUN_AGAIN = "Run again"
SIGN_IN = "Sign in"
SIGN_OUT = "Sign out"
PREVIOUS_MATCH = "Previous match"
NO_MATCHES = "No matches"


def process(job_id: str) -> str:
    """The name of a posting's button."""
    return f"Process job {job_id}"


def watch(job_id: str) -> str:
    """The name of the link to a posting's run."""
    return f"Watch job {job_id}"
