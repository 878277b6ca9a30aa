"""What the company says about itself: found with Firecrawl if a key is set, else on its own site."""

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

READ_ON = "Read on the company's website"
MAX_PAGES = 4
SITE_SECONDS = 60.0
EXCERPT_LENGTH = 1_200  # characters
MIN_NAME_LENGTH = 4  # characters that identify a company's host
# Links that say most about a company, best first.
_RELEVANT = ("about", "über", "ueber", "unternehmen", "company", "who-we-are", "mission", "produ", "career", "karriere")
_LEGAL_FORMS = {"gmbh", "ggmbh", "mbh", "ag", "se", "kg", "inc", "ltd", "llc", "corp", "co", "the", "group", "gruppe"}


@dataclass(frozen=True, kw_only=True)
class Research:
    """The research on the company; without sources if nothing was found."""

    sources: tuple[Source, ...] = ()
    #: How it was found and what failed, as a sentence.
    note: str


def research_company(posting: Posting, browser: Browser, firecrawl: Firecrawl | None) -> Research:
    """Find out what the company says about itself; failures are only reported in the note."""
    if not posting.company:
        return Research(note="The posting names no company")
    tried = ""
    if firecrawl is not None:
        try:
            found = firecrawl.search(f"{posting.company} company about", limit=MAX_PAGES)
            sources = tuple(_source(page.url, page.title, page.text) for page in found if page.text.strip())
            if sources:
                return Research(sources=sources, note="Found with Firecrawl")
            tried = "Firecrawl found nothing. "
        except FirecrawlError as error:
            tried = f"{error} "
    site = site_of(posting)
    if not site:
        return Research(note=f"{tried}The posting names no website of the company")
    sources, problem = _read_site(site, browser)
    if not sources:
        return Research(note=f"{tried}The company's website {site} could not be read: {problem}")
    return Research(sources=sources, note=f"{tried}{READ_ON} {site}")


def site_of(posting: Posting) -> str:
    """Return the URL of the company's website; empty if it is unknown.

    The posting's own site counts if its host contains the company's name, unlike job boards.
    """
    if posting.company_url:
        return posting.company_url
    try:
        parts = urlsplit(posting.url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    name = next((word for word in slugify(posting.company[:200]).split("-") if word not in _LEGAL_FORMS), "")
    labels = host.replace("-", ".").split(".")
    return f"{parts.scheme}://{parts.netloc}/" if len(name) >= MIN_NAME_LENGTH and name in labels else ""


def _read_site(site: str, browser: Browser) -> tuple[tuple[Source, ...], str]:
    deadline = time.monotonic() + SITE_SECONDS
    first = browser.visit(site, SITE_SECONDS)
    if problem := first.error or problem_with(first):
        return (), problem
    sources = [_source(first.url, first.title, first.text)]
    for url in informative_links(first)[: MAX_PAGES - 1]:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            break
        visit = browser.visit(url, seconds)
        if not (visit.error or problem_with(visit)):
            sources.append(_source(visit.url, visit.title, visit.text))
    return tuple(sources), ""


def informative_links(visit: Visit) -> list[str]:
    """Return a page's links to the same host that say most about the company, best first, without duplicates."""
    host = urlsplit(visit.url).netloc
    ranked: dict[str, int] = {}
    for text, href in visit.links:
        try:
            url, _ = urldefrag(urljoin(visit.url, href))
            parts = urlsplit(url)
        except ValueError:
            continue
        label = f"{text} {parts.path}".casefold()
        rank = next((place for place, word in enumerate(_RELEVANT) if word in label), None)
        if parts.scheme in ("http", "https") and parts.netloc == host and url != visit.url and rank is not None:
            ranked[url] = min(rank, ranked.get(url, rank))
    return sorted(ranked, key=lambda url: ranked[url])


def _source(url: str, title: str, text: str) -> Source:
    return Source(url=one_line(url), title=one_line(title), excerpt=one_line(text)[:EXCERPT_LENGTH])
