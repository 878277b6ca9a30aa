"""The job posting, with either set of field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_runner.text import clean, one_line


@dataclass(frozen=True, kw_only=True)
class Posting:
    """One job posting. Texts are cleaned, and empty if missing."""

    job_id: str
    title: str
    company: str
    location: str
    url: str
    #: The company's website, if the posting names it.
    company_url: str = ""
    #: The full text, with line breaks.
    description: str
    #: The requirements, if the posting lists them separately; usually they are in the description.
    requirements: tuple[str, ...]
    #: The source of the posting, for people: ``file 4711.json``.
    source: str

    @property
    def text(self) -> str:
        """Everything that the posting says about the job."""
        return "\n".join((self.title, self.description, *self.requirements))


def posting_from(document: Mapping[str, object], *, job_id: str, source: str) -> Posting:
    """Convert a JSON object or a MongoDB document to a posting.

    Fields may be missing or have any type; what cannot be converted to text counts as missing.
    """

    def line(*names: str) -> str:
        return next(filter(None, (one_line(_text(document.get(name))) for name in names)), "")

    description = next(filter(None, (_text(document.get(name)) for name in ("description", "jobDescription"))), "")
    requirements = document.get("requirements")
    listed = requirements if isinstance(requirements, list) else _text(requirements).split("\n")
    return Posting(
        job_id=one_line(job_id),
        title=line("title", "role"),
        company=line("company"),
        location=line("location"),
        url=line("url", "jobUrl"),
        company_url=line("companyUrl", "companyWebsite"),
        description=clean(description).strip(),
        requirements=tuple(filter(None, (one_line(_text(item)) for item in listed))),
        source=one_line(source),
    )


def id_text(value: object) -> str:
    """Return a ``jobId`` as text: 4711, 4711.0 and "4711" are equal."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, value)))
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
