"""A pipeline: a named entry of configuration that says what a run executes and what it leaves behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_PLACEHOLDER = re.compile(r"\{(?:job_id|profile)\}")  # in one pass: a job_id may look like one
DEFAULT_ARTIFACTS: Mapping[str, str] = {
    "cv_md_url": "CV.md",
    "cv_docx_url": "CV.docx",
    "cover_letter_url": "cover_letter.txt",
    "dossier_url": "dossier.txt",
}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """`command` may contain `{job_id}` and `{profile}`; arguments with `{profile}`, and the option before each, are
    left out where no profile was asked for. `artifacts` maps a key to the name of a file, or to a pattern with `*` and
    `?`, found anywhere below the run's folder. `timeout_seconds` None means the launcher's own default. `image` and
    `resources` (a container's, as Kubernetes writes them) are for the Kubernetes engine; `image` None means
    PIPELINE_IMAGE.
    """

    name: str = "default"
    command: Sequence[str] = ("python", "scripts/run_pipeline.py", "--job-id", "{job_id}", "--profile", "{profile}")
    artifacts: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_ARTIFACTS))
    timeout_seconds: int | None = None
    image: str | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)

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
