"""A pipeline: a named entry of configuration that says what a run executes and what it leaves behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.domain.reasons import Reason
from launcher.domain.runs import Outcome

_PLACEHOLDER = re.compile(r"\{(?:job_id|profile)\}")  # in one pass: a job_id may look like one
DEFAULT_ARTIFACTS: Mapping[str, str] = {
    "cv_md_url": "CV.md",
    "cv_docx_url": "CV.docx",
    "cover_letter_url": "cover_letter.txt",
    "dossier_url": "dossier.txt",
}


@dataclass(frozen=True, kw_only=True)
class ExitMeaning:
    """What a pipeline means by an exit code: a stable code of the pipeline's own, and a sentence for people."""

    reason: str
    message: str


DEFAULT_EXIT_CODES: Mapping[int, ExitMeaning] = {
    2: ExitMeaning(
        reason="ProfileNotUsable", message="The profile cannot be used; the log's last lines name those there are."
    ),
    3: ExitMeaning(
        reason="PostingNotFound",
        message="There is no posting with this job_id; the log's last line says where it was sought.",
    ),
    4: ExitMeaning(
        reason="MasterCvMissing", message="There is no master CV, or it is empty; the log's last line says where."
    ),
    5: ExitMeaning(
        reason="ModelRefused",
        message="The model's provider refused the key or the model's name; the log's last line has its answer.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """`command` may contain `{job_id}` and `{profile}`; arguments with `{profile}`, and the option before each, are
    left out where no profile was asked for. `artifacts` maps a key to the name of a file, or to a pattern with `*` and
    `?`, found anywhere below the run's folder. `timeout_seconds` None means the launcher's own default. `image` and
    `resources` (a container's, as Kubernetes writes them) are for the Kubernetes engine; `image` None means
    PIPELINE_IMAGE. `exit_codes`: what the pipeline means by exit codes of its own; the others are `PipelineError`.
    """

    name: str = "default"
    command: Sequence[str] = ("python", "scripts/run_pipeline.py", "--job-id", "{job_id}", "--profile", "{profile}")
    artifacts: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_ARTIFACTS))
    timeout_seconds: int | None = None
    image: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)
    exit_codes: Mapping[int, ExitMeaning] = field(default_factory=lambda: dict(DEFAULT_EXIT_CODES))

    def command_for(self, job_id: str, profile: str | None) -> list[str]:
        """Return the command line for one run."""
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
        """Return the outcome with what the pipeline means by its exit code, where it ended by itself and says so."""
        meaning = self.exit_codes.get(outcome.exit_code or 0)
        if meaning is None or outcome.reason != Reason.PIPELINE_ERROR:
            return outcome
        return replace(outcome, reason=meaning.reason, message=meaning.message)
