"""The settings, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_runner.errors import PipelineError

FIRECRAWL_API_URL = "https://api.firecrawl.dev"
MAX_SECONDS = 3600
MODEL_KEYS = ("OPENAI_API_KEY", "OPENROUTER_API_KEY")
OPENAI_BASE_URL = "https://api.openai.com/v1"
OPENROUTER_BASE_URL = "https://openrouter.ai/api/v1"
MODEL = "gpt-4.1-mini"
MODEL_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The model and how to reach it."""

    #: The name of the variable that contains the key.
    key_name: str
    key: str = field(repr=False)
    base_url: str
    #: The provider's name of the model.
    model: str
    #: The limit for one answer, and for waiting for an unavailable provider in total.
    timeout_seconds: float = MODEL_TIMEOUT_SECONDS

    @property
    def host(self) -> str:
        """The provider's host, for messages."""
        try:
            return urlsplit(self.base_url).hostname or "a URL without a host"
        except ValueError:
            return "an invalid URL"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The pipeline's settings."""

    #: The folder that receives ``<company>/<role>/``.
    applications_dir: Path
    #: The master CV, a Markdown file.
    master_cv: Path
    #: The folder with one JSON file per posting; not used if `mongodb_uri` is set.
    postings_dir: Path
    #: The database with the postings, or None.
    mongodb_uri: str | None = field(repr=False)
    #: The folder with additional profiles, or None.
    profiles_dir: Path | None
    #: The language model, or None if no key is set.
    model: ModelSettings | None
    #: The Chromium to use; None for Playwright's own.
    chromium_path: str | None = None
    #: Networks that the browser may access in addition to the public internet, separated by commas.
    browser_allowed_networks: str = ""
    #: The time limit for loading a page.
    page_seconds: float = 30
    #: Firecrawl's API and key; without a key, the company's website is read.
    firecrawl_api_url: str = FIRECRAWL_API_URL
    firecrawl_api_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings; an empty variable counts as unset.

        POSTINGS_DIR takes precedence over MONGODB_URI, to try a run with files where a database is configured.
        """
        postings_dir = environ.get("POSTINGS_DIR")
        profiles_dir = environ.get("PROFILES_DIR")
        return cls(
            applications_dir=Path(environ.get("APPLICATIONS_DIR") or "applications"),
            master_cv=Path(environ.get("MASTER_CV") or "master-cv.md"),
            postings_dir=Path(postings_dir or "postings"),
            mongodb_uri=None if postings_dir else environ.get("MONGODB_URI") or None,
            profiles_dir=Path(profiles_dir) if profiles_dir else None,
            model=_model(environ),
            chromium_path=environ.get("CHROMIUM_PATH") or None,
            browser_allowed_networks=environ.get("BROWSER_ALLOWED_NETWORKS") or "",
            page_seconds=_seconds(environ, "PAGE_TIMEOUT_SECONDS", 30),
            firecrawl_api_url=environ.get("FIRECRAWL_API_URL") or FIRECRAWL_API_URL,
            firecrawl_api_key=environ.get("FIRECRAWL_API_KEY") or None,
        )


def _model(environ: Mapping[str, str]) -> ModelSettings | None:
    """The model's settings; OpenAI's key takes precedence if both are set."""
    providers = (
        ("OPENAI_API_KEY", environ.get("OPENAI_BASE_URL") or OPENAI_BASE_URL, MODEL),
        ("OPENROUTER_API_KEY", environ.get("OPENROUTER_BASE_URL") or OPENROUTER_BASE_URL, f"openai/{MODEL}"),
    )
    for key_name, base_url, default in providers:
        key = (environ.get(key_name) or "").strip()
        if key:
            return ModelSettings(
                key_name=key_name,
                key=key,
                base_url=base_url.rstrip("/"),
                model=environ.get("MODEL") or default,
                timeout_seconds=_seconds(environ, "MODEL_TIMEOUT_SECONDS", MODEL_TIMEOUT_SECONDS),
            )
    return None


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_SECONDS:
        msg = f"{name} is {text!r}. Set a number of seconds above 0 and up to {MAX_SECONDS}."
        raise PipelineError(msg)
    return seconds
