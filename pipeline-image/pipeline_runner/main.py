"""The command line: what the launcher calls, and what it gets back."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from pipeline_runner.errors import EXIT_FAULT, EXIT_OK, PipelineError
from pipeline_runner.profiles import DEFAULT_PROFILE, PROFILES, Profile
from pipeline_runner.progress import Progress
from pipeline_runner.redaction import redact
from pipeline_runner.secrecy import hide_from_others
from pipeline_runner.settings import MODEL_KEYS, Settings
from pipeline_runner.stopping import Stopped, leave_on_signals
from pipeline_runner.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline and return its exit code.

    0 done; 1 a fault, with its traceback; 2 wrong arguments; 3 no such posting; 4 no master CV; 143 on SIGTERM.
    Usage errors leave through `SystemExit`, as argparse has it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # otherwise a posting in another script could end a run
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    leave_on_signals()
    hide_from_others(os.environ)
    try:
        job_id, profile = _parse(arguments)
        return _run(job_id, profile)
    except Stopped as stopped:
        _say(f"Stopped by {stopped.signal_name}.")
        return stopped.exit_code


def _parse(arguments: Sequence[str] | None) -> tuple[str, Profile]:
    parser = argparse.ArgumentParser(
        prog="run_pipeline.py",
        description="Turn one job posting into CV.md, CV.docx, cover_letter.txt and dossier.txt.",
        allow_abbrev=False,
    )
    parser.add_argument("--job-id", required=True, metavar="ID", help="the posting's jobId")
    parser.add_argument("--profile", metavar="NAME", help=f"how to cut the documents: {', '.join(PROFILES)}")
    parsed = parser.parse_args(arguments)
    job_id: str = parsed.job_id.strip()
    name: str | None = parsed.profile
    if not job_id:
        parser.error("--job-id must not be empty")
    if name is not None and name not in PROFILES:
        parser.error(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    return job_id, DEFAULT_PROFILE if name is None else PROFILES[name]


def _run(job_id: str, profile: Profile) -> int:
    _say(f"Starting pipeline for job {job_id} with the profile {profile.name}.")
    try:
        settings = Settings.from_environment(os.environ)
        _say(_working_offline(settings))
        # Imported here, so that SIGTERM finds its handler while the large libraries load.
        from pipeline_runner.pipeline import STEPS, run

        run(job_id, profile, settings, Progress(_say, of=STEPS))
    except PipelineError as error:
        if not error.explained:
            _say_traceback()
        _say(f"Pipeline failed: {error}")
        return error.exit_code
    except Exception as error:  # the last resort: whatever it is, the log shall end with a sentence
        _say_traceback()
        _say(f"Pipeline failed: {type(error).__name__}: {error}")
        return EXIT_FAULT
    _say("Pipeline finished.")
    return EXIT_OK


def _working_offline(settings: Settings) -> str:
    if settings.has_model_key:
        reason = "A key for a language model is set, but this form of the pipeline makes no use of it"
    else:
        reason = f"Neither {' nor '.join(MODEL_KEYS)} is set"
    return f"{reason}: working offline, on the posting's own words and the master CV."


def _say_traceback() -> None:
    for line in traceback.format_exc().splitlines():
        _print(line)


def _say(line: str) -> None:
    _print(one_line(line))  # one call, one line: a posting's text cannot forge a progress line


def _print(line: str) -> None:
    print(redact(line, os.environ), flush=True)
