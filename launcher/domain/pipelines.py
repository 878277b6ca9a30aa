"""A pipeline: what a run executes, and which artifacts it produces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome, Run

_PLACEHOLDER = re.compile(r"\{(?:job_id|profile)\}")  # replaced in one pass: a job_id may contain one
DEFAULT_ARTIFACTS: Mapping[str, str] = {
    "cv_md_url": "CV.md",
    "cv_docx_url": "CV.docx",
    "cover_letter_url": "cover_letter.txt",
    "dossier_url": "dossier.txt",
}


@dataclass(frozen=True, kw_only=True)
class ExitMeaning:
    """The meaning of an exit code: a stable reason code of the pipeline, and a sentence for people."""

    reason: str
    message: str


DEFAULT_EXIT_CODES: Mapping[int, ExitMeaning] = {
    3: ExitMeaning(
        reason="PostingNotFound",
        message="Posting not found. The last line of the log says where the pipeline looked.",
    ),
    4: ExitMeaning(
        reason="MasterCvMissing",
        message="The master CV is missing or empty. The last line of the log says where it should be.",
    ),
    5: ExitMeaning(
        reason="ModelRefused",
        message="The model's provider rejected the key or the model's name. The last line of the log has its answer.",
    ),
    6: ExitMeaning(
        reason="ProfileNotUsable",
        message="The profile cannot be used. The last line of the log says why.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The configuration of one pipeline.

    - `command` may contain `{job_id}` and `{profile}`. Without a profile, arguments with `{profile}`, and the option
      before a lone `{profile}`, are left out.
    - `artifacts` maps a key to a file name, or to a pattern with `*` and `?`, anywhere below the run's folder.
    - `timeout_seconds` defaults to the launcher's setting.
    - `image` and `resources` (of the container, in Kubernetes' notation) apply to the Kubernetes engine. `image`
      defaults to PIPELINE_IMAGE.
    - `exit_codes` gives the pipeline's exit codes a meaning. All others are `PipelineError`.
    """

    name: str = "default"
    command: Sequence[str] = ("python", "scripts/run_pipeline.py", "--job-id", "{job_id}", "--profile", "{profile}")
    artifacts: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_ARTIFACTS))
    timeout_seconds: int | None = None
    image: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    exit_codes: Mapping[int, ExitMeaning] = field(default_factory=lambda: dict(DEFAULT_EXIT_CODES))

    def command_for(self, job_id: str, profile: str | None) -> list[str]:
        """Return the command line for a run."""
        values = {"{job_id}": job_id, "{profile}": profile or ""}
        words: list[str] = []
        for word in self.command:
            if "{profile}" in word and not profile:
                if words and word == "{profile}" and words[-1].startswith("-"):
                    words.pop()
                continue
            words.append(_PLACEHOLDER.sub(lambda found: values[found[0]], word))
        return words

    def explained(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the meaning that the pipeline gives its exit code, if it gives one."""
        meaning = self.exit_codes.get(outcome.exit_code or 0)
        if meaning is None or outcome.reason != Reason.PIPELINE_ERROR:
            return outcome
        return replace(outcome, reason=meaning.reason, message=meaning.message)


def run_environment(run: Run, *, applications: str) -> dict[str, str]:
    """Return the environment variables that every run has, on both engines. `applications` is the run's folder."""
    return {
        "SLIPWAY_RUN_ID": run.run_id,
        "APPLICATIONS_DIR": applications,
        "PIPELINE_PARAMS": json.dumps(dict(run.params), ensure_ascii=False),
        "CI": "1",
        "PYTHONUNBUFFERED": "1",
    }
