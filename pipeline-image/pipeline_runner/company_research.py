"""What the company says of itself: found with Firecrawl where a key is set, else on its own site."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin, urlsplit

from slugify import slugify

from pipeline_runner.browsing import Browser, Visit
from pipeline_runner.firecrawl import Firecrawl, FirecrawlError
from pipeline_runner.page_reading import problem_with
from pipeline_runner.postings import Posting
from pipeline_runner.sources import Source
from pipeline_runner.text import one_line

MOST_PAGES = 4
SITE_SECONDS = 60.0
EXCERPT_LENGTH = 1_200  # characters
SHORTEST_NAME = 4  # characters of a company's name that say whose a host is
# Which links of a site tell most of a company, best first.
_TELLING = ("about", "über", "ueber", "unternehmen", "company", "who-we-are", "mission", "produ", "career", "karriere")
_LEGAL_FORMS = {"gmbh", "ggmbh", "mbh", "ag", "se", "kg", "inc", "ltd", "llc", "corp", "co", "the", "group", "gruppe"}


@dataclass(frozen=True, kw_only=True)
class Research:
    """What was found out about the company; without sources where nothing was."""

    sources: tuple[Source, ...] = ()
    #: How it was found, and what was tried in vain, as a sentence for people.
    note: str


def research_company(posting: Posting, browser: Browser, firecrawl: Firecrawl | None) -> Research:
    """Look for what the company says of itself; whatever fails is told in the note, and fails nothing else."""
    if not posting.company:
        return Research(note="The posting names no company, so there is nothing to look for")
    tried = ""
    if firecrawl is not None:
        try:
            found = firecrawl.search(f"{posting.company} company about", limit=MOST_PAGES)
            sources = tuple(_source(page.url, page.title, page.text) for page in found if page.text.strip())
            if sources:
                return Research(sources=sources, note="Found with Firecrawl")
            tried = "Firecrawl found nothing. "
        except FirecrawlError as error:
            tried = f"{error} "
    site = site_of(posting)
    if not site:
        return Research(note=f"{tried}The posting names no site of the company's own")
    sources, problem = _read_site(site, browser)
    if not sources:
        return Research(note=f"{tried}The company's site {site} could not be read, as {problem}")
    return Research(sources=sources, note=f"{tried}Read on the company's own site {site}")


def site_of(posting: Posting) -> str:
    """Return where the company's own site begins; empty where the posting does not tell.

    The posting's page counts when its host bears the company's name; job boards do not.
    """
    if posting.company_url:
        return posting.company_url
    try:
        parts = urlsplit(posting.url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    name = next((word for word in slugify(posting.company[:200]).split("-") if word not in _LEGAL_FORMS), "")
    whose = host.replace("-", ".").split(".")
    return f"{parts.scheme}://{parts.netloc}/" if len(name) >= SHORTEST_NAME and name in whose else ""


def _read_site(site: str, browser: Browser) -> tuple[tuple[Source, ...], str]:
    deadline = time.monotonic() + SITE_SECONDS
    first = browser.visit(site, SITE_SECONDS)
    if problem := first.error or problem_with(first):
        return (), problem
    sources = [_source(first.url, first.title, first.text)]
    for url in telling_links(first)[: MOST_PAGES - 1]:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            break
        visit = browser.visit(url, seconds)
        if not (visit.error or problem_with(visit)):
            sources.append(_source(visit.url, visit.title, visit.text))
    return tuple(sources), ""


def telling_links(visit: Visit) -> list[str]:
    """Return the links of a page that lead on within its host and promise most, best first, each once."""
    host = urlsplit(visit.url).netloc
    ranked: dict[str, int] = {}
    for text, href in visit.links:
        try:
            url, _ = urldefrag(urljoin(visit.url, href))
            parts = urlsplit(url)
        except ValueError:
            continue
        said = f"{text} {parts.path}".casefold()
        rank = next((place for place, word in enumerate(_TELLING) if word in said), None)
        if parts.scheme in ("http", "https") and parts.netloc == host and url != visit.url and rank is not None:
            ranked[url] = min(rank, ranked.get(url, rank))
    return sorted(ranked, key=lambda url: ranked[url])


def _source(url: str, title: str, text: str) -> Source:
    return Source(url=one_line(url), title=one_line(title), excerpt=one_line(text)[:EXCERPT_LENGTH])
