"""Ranks the CV's facts by their relevance to the posting."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from pipeline_runner.markup import plain
from pipeline_runner.master_cv import Kind, MasterCv
from pipeline_runner.postings import Posting
from pipeline_runner.stop_words import HUMAN_LANGUAGES
from pipeline_runner.text import words

_SCORE_DIGITS = 4  # rounded, so that the order does not depend on the machine's floating-point arithmetic


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One statement of the master CV about the candidate."""

    #: The CV's text, as inline Markdown.
    text: str
    #: Its source in the CV: ``Engineer, Example GmbH`` or ``Skills``.
    where: str
    kind: Kind
    #: The role and employer that it belongs to, as plain text; empty if there is none.
    setting: str = ""

    @property
    def is_achievement(self) -> bool:
        """Whether a letter can quote it: a bullet of a role or a project, not an item of a list of skills."""
        return self.kind in (Kind.EXPERIENCE, Kind.OTHER)


@dataclass(frozen=True, kw_only=True)
class Match:
    """How well a text matches a query."""

    #: The index of the text in the ranked sequence.
    index: int
    score: float
    #: The stems that text and query share.
    shared: frozenset[str]


def facts_of(cv: MasterCv) -> list[Fact]:
    """Return the CV's facts in order: its bullets, and the paragraphs of entries without bullets."""
    facts = []
    for section in cv.sections:
        for entry in section.entries:
            where = entry.label if entry.heading else plain(section.title)
            texts = entry.bullets or entry.details
            if entry.heading and section.kind is not Kind.EXPERIENCE:
                texts = [", ".join(filter(None, (entry.heading, *entry.details))), *entry.bullets]
            setting = plain(entry.heading)
            facts += [Fact(text=text, where=where, kind=section.kind, setting=setting) for text in texts]
    return facts


def query_of(posting: Posting, requirements: Sequence[str]) -> list[str]:
    """Return the posting's words, without names of languages; words of title and requirements count twice."""
    everything = dict.fromkeys(words(posting.text))
    wanted = dict.fromkeys(words("\n".join((posting.title, *requirements))))
    return [word for word in (*everything, *wanted) if word not in HUMAN_LANGUAGES]


def rank(texts: Sequence[str], query: Sequence[str]) -> list[Match]:
    """Rank the texts by BM25, best first; texts that share no word with the query come last, in their order."""
    stems = [words(plain(text)) for text in texts]
    scores = _scores(stems, query)
    wanted = frozenset(query)
    matches = [
        Match(index=index, score=scores.get(index, 0.0), shared=wanted.intersection(own))
        for index, own in enumerate(stems)
    ]
    return sorted(matches, key=lambda match: (not match.shared, -match.score if match.shared else 0.0, match.index))


def _scores(stems: Sequence[Sequence[str]], query: Sequence[str]) -> dict[int, float]:
    """Score the texts that share a word with the query; repeated words count repeatedly.

    SQLite's full-text index; its `bm25` is negative, lowest is best: https://www.sqlite.org/fts5.html#the_bm25_function
    """
    if not query:
        return {}
    with closing(sqlite3.connect(":memory:")) as index:
        index.execute("CREATE VIRTUAL TABLE texts USING fts5(words)")
        index.executemany(
            "INSERT INTO texts(rowid, words) VALUES (?, ?)",
            ((number, " ".join(map(_term, own))) for number, own in enumerate(stems)),
        )
        found = index.execute(
            "SELECT rowid, bm25(texts) FROM texts WHERE texts MATCH ?", (" OR ".join(map(_term, query)),)
        )
        return {number: round(-score, _SCORE_DIGITS) for number, score in found}


def _term(word: str) -> str:
    """Encode a word as one term of the index, so that `C++` and `C` differ."""
    return f"w{word.encode().hex()}"
