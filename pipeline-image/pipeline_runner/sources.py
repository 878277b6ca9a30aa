"""What was read besides the posting: pages, with their addresses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """One page that the dossier names."""

    title: str
    url: str
    #: What the page says that matters here, in its own words; may be empty.
    excerpt: str = ""
