"""What was read about the company: pages, with their addresses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """One page that the dossier names."""

    title: str
    url: str
    #: The begin of its text, on one line.
    excerpt: str
