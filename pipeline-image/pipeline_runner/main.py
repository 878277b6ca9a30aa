"""The command line: what the launcher calls, and what it gets back."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from pipeline_runner.errors import EXIT_FAULT, EXIT_OK, PipelineError
from pipeline_runner.profile_files import DEFAULT, profile_files
from pipeline_runner.progress import Progress
from pipeline_runner.redaction import redact
from pipeline_runner.secrecy import hide_from_others
from pipeline_runner.settings import MODEL_KEYS, ModelSettings, Settings
from pipeline_runner.stopping import Stopped, leave_on_signals
from pipeline_runner.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline and return its exit code.

    | 0 | done, also when the model was down, its quota spent or its answers unusable: then the offline writer took
          over, which the log and the dossier say |
    | 1 | any other fault, with its traceback |
    | 2 | wrong arguments, an unknown profile, or one that cannot be read |
    | 3 | no such posting |
    | 4 | no master CV |
    | 5 | the model's provider refuses the key, the model or the request: the configuration is to be corrected |
    | 130, 143 | ended by SIGINT, by SIGTERM |

    The last line says which in one sentence. What was stored before stays. Usage errors leave through `SystemExit`, as
    argparse has it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # otherwise a posting in another script could end a run
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    leave_on_signals()
    hide_from_others(os.environ)
    try:
        settings = Settings.from_environment(os.environ)
        job_id, profile = _parse(arguments, settings)
        return _run(job_id, profile, settings)
    except PipelineError as error:  # in the settings
        _say(f"Pipeline failed: {error}")
        return error.exit_code
    except Stopped as stopped:
        _say(f"Stopped by {stopped.signal_name}.")
        return stopped.exit_code


def _parse(arguments: Sequence[str] | None, settings: Settings) -> tuple[str, Path]:
    profiles = profile_files(settings.profiles_dir)
    parser = argparse.ArgumentParser(
        prog="run_pipeline.py",
        description="Turn one job posting into CV.md, CV.docx, cover_letter.txt and dossier.txt.",
        allow_abbrev=False,
    )
    parser.add_argument("--job-id", required=True, metavar="ID", help="the posting's jobId")
    parser.add_argument("--profile", metavar="NAME", help=f"how to write: {', '.join(profiles)}")
    parsed = parser.parse_args(arguments)
    job_id: str = parsed.job_id.strip()
    name: str = DEFAULT if parsed.profile is None else parsed.profile
    if not job_id:
        parser.error("--job-id must not be empty")
    if name not in profiles:
        parser.error(f"there is no profile {name!r}; there are {', '.join(profiles)}")
    return job_id, profiles[name]


def _run(job_id: str, profile: Path, settings: Settings) -> int:
    _say(f"Starting pipeline for job {job_id} with the profile {profile.stem}.")
    _say(_who_writes(settings.model))
    try:
        # Imported here, so that the first line is out, and SIGTERM finds its handler, while the large libraries load.
        from pipeline_runner.pipeline import STEPS, run
        from pipeline_runner.profiles import read_profile

        run(job_id, read_profile(profile), settings, Progress(_say, of=STEPS))
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


def _who_writes(model: ModelSettings | None) -> str:
    if model is None:
        keys = " nor ".join(MODEL_KEYS)
        return f"Neither {keys} is set: working offline, on the posting's own words and the master CV."
    return f"{model.key_name} is set: a model at {model.host} helps; all that it says is traced to the master CV."


def _say_traceback() -> None:
    for line in traceback.format_exc().splitlines():
        _print(line)


def _say(line: str) -> None:
    _print(one_line(line))  # one call, one line: a posting's text cannot forge a progress line


def _print(line: str) -> None:
    print(redact(line, os.environ), flush=True)
