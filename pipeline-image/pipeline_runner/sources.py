"""A source about the company."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """A page that the dossier cites."""

    title: str
    url: str
    #: The beginning of its text, on one line.
    excerpt: str
