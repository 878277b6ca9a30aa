"""What the environment says, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MODEL_KEYS = ("OPENAI_API_KEY", "OPENROUTER_API_KEY")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The places that the pipeline reads from and writes to."""

    #: The folder that receives ``<company>/<role>/``.
    applications_dir: Path
    #: The master CV, a Markdown file.
    master_cv: Path
    #: The folder with one JSON file a posting; not used when `mongodb_uri` is set.
    postings_dir: Path
    #: Where the postings are when they are in MongoDB, else None.
    mongodb_uri: str | None = field(repr=False)
    #: Whether a key for a language model is there. This form of the pipeline makes no use of it.
    has_model_key: bool

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings; a variable that is set to nothing counts as not set.

        POSTINGS_DIR wins over MONGODB_URI, so that a run can be tried on files where a database is configured.
        """
        postings_dir = environ.get("POSTINGS_DIR")
        return cls(
            applications_dir=Path(environ.get("APPLICATIONS_DIR") or "applications"),
            master_cv=Path(environ.get("MASTER_CV") or "master-cv.md"),
            postings_dir=Path(postings_dir or "postings"),
            mongodb_uri=None if postings_dir else environ.get("MONGODB_URI") or None,
            has_model_key=any(environ.get(name) for name in MODEL_KEYS),
        )
