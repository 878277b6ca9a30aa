"""The command line, which is the launcher's interface to the pipeline."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from pipeline_runner.errors import EXIT_FAILURE, EXIT_OK, PipelineError, ProfileNotUsableError
from pipeline_runner.process_privacy import hide_from_others
from pipeline_runner.profile_files import DEFAULT, profile_files
from pipeline_runner.progress import Progress
from pipeline_runner.redaction import redact
from pipeline_runner.settings import MODEL_KEYS, ModelSettings, Settings
from pipeline_runner.signals import Stopped, stop_on_signals
from pipeline_runner.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline and return its exit code.

    | 0 | success, also if the model was unavailable and the run continued offline, as the log and the dossier say |
    | 1 | any other error, with a traceback |
    | 2 | invalid arguments |
    | 3 | posting not found |
    | 4 | master CV missing |
    | 5 | the model's provider rejects the key, the model or the request: correct the configuration |
    | 6 | unknown or invalid profile |
    | 130, 143 | stopped by SIGINT, by SIGTERM |

    The last line of output says why in one sentence. Artifacts written before are kept. Usage errors raise
    `SystemExit`, as in argparse.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # otherwise a posting in another script could fail the run
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    stop_on_signals()
    hide_from_others(os.environ)
    try:
        settings = Settings.from_environment(os.environ)
        job_id, profile = _parse(arguments, settings)
        return _run(job_id, profile, settings)
    except PipelineError as error:  # in the settings, or an unknown profile
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
    parser.add_argument("--profile", metavar="NAME", help=f"the profile: {', '.join(profiles)}")
    parsed = parser.parse_args(arguments)
    job_id: str = parsed.job_id.strip()
    name: str = DEFAULT if parsed.profile is None else parsed.profile
    if not job_id:
        parser.error("--job-id must not be empty")
    if name not in profiles:
        msg = f"Unknown profile {name!r}. Available profiles: {', '.join(profiles)}."
        raise ProfileNotUsableError(msg)
    return job_id, profiles[name]


def _run(job_id: str, profile: Path, settings: Settings) -> int:
    _say(f"Using the profile {profile.stem}.")
    _say(_mode(settings.model))
    try:
        # Imported here, so that the first line is printed and SIGTERM is handled while the large libraries load.
        from pipeline_runner.pipeline import STEPS, run
        from pipeline_runner.profiles import read_profile

        run(job_id, read_profile(profile), settings, Progress(_say, of=STEPS))
    except PipelineError as error:
        if not error.explained:
            _say_traceback()
        _say(f"Pipeline failed: {error}")
        return error.exit_code
    except Exception as error:  # any error: the log must end with a sentence
        _say_traceback()
        _say(f"Pipeline failed: {type(error).__name__}: {error}")
        return EXIT_FAILURE
    _say("Pipeline finished.")
    return EXIT_OK


def _mode(model: ModelSettings | None) -> str:
    if model is None:
        keys = " nor ".join(MODEL_KEYS)
        return f"Neither {keys} is set: working offline, from the posting's text and the master CV."
    return f"{model.key_name} is set: using a model at {model.host}; everything it writes is traced to the master CV."


def _say_traceback() -> None:
    for line in traceback.format_exc().splitlines():
        _print(line)


def _say(line: str) -> None:
    _print(one_line(line))  # always one line: a posting's text cannot forge a progress line


def _print(line: str) -> None:
    print(redact(line, os.environ), flush=True)
