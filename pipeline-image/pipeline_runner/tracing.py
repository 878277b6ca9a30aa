"""Checks that a sentence says only what the master CV says. Pure functions, independent of the model.

A sentence rewords one fact. Each of its words must be in that fact, except a few small ones that claim nothing; numbers
keep their order and what they count; negations and qualifications are kept. So a model cannot invent an employer, a
degree, a date, a number, a technology or a certificate, in any script or spelling, and a posting cannot make it do so.
The price: a correct paraphrase is rejected, and the fact's own words are used. One thing is not detected: a change of
meaning when harmless words are left out ("planned outage", "outage").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass

from pipeline_runner.tracing_words import COUNT_WORDS, KEPT_WORDS, SMALL_WORDS

MAX_SENTENCE_LENGTH = 600  # characters
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*[^\W_]*|[^\W\d_]\w*|\S")  # "k3s" and "10x" are one word each
_NUMBER = re.compile(r"\d")
_PUNCTUATION = frozenset(".,;:!?()/&'\"-\u2010\u2011\u2012\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2026\u00b7")
_MARKDOWN = "# *"  # the Markdown that the CV writer adds
_ENDINGS = ("ing", "ed", "es", "s", "e")
_MIN_STEM_LENGTH = 4  # characters


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A rejected sentence and the reason."""

    sentence: str
    why: str


def objection(sentence: str, fact: str, *, setting: str = "") -> str:
    """Say why a sentence cannot be traced to a fact; empty if it can.

    Both are plain text. `setting`, the fact's role and employer, may contribute words but no numbers.
    """
    if not sentence.strip() or len(sentence) > MAX_SENTENCE_LENGTH or len(sentence.splitlines()) > 1:
        return "it is empty, too long, or more than one line"
    if not (sentence[0].isalnum() or sentence[0] in "\"'\u201c\u201e\u2018"):
        return "it does not begin with a word"
    tokens, known = _tokens(sentence), _tokens(fact)
    contributed = {_stem(token) for token in _tokens(setting) if not _NUMBER.search(token)}
    allowed = {_stem(token) for token in known} | contributed
    new = _new(tokens, allowed)
    if new:
        return "the fact does not say " + ", ".join(map(repr, new))
    lost = [token for token in known if token in KEPT_WORDS and token not in tokens]
    if lost:
        return f"it leaves out {lost[0]!r}"
    return _objection_to_numbers(tokens, known)


def new_words(text: str, known: Sequence[str]) -> list[str]:
    """Return the words, numbers and symbols of a text that no known text contains, except small words."""
    allowed = {_stem(token) for one in known for token in _tokens(one)}
    return _new(_tokens(text), allowed)


def remove_untraceable(document: str, known: Sequence[str]) -> tuple[str, list[Removed]]:
    """Remove each line with a word that is in none of the texts: the final check of a document."""
    allowed = {_stem(token) for text in (*known, _MARKDOWN) for token in _tokens(text)}
    kept: list[str] = []
    removed: list[Removed] = []
    for line in document.split("\n"):
        new = _new(_tokens(line), allowed)
        if new:
            removed.append(Removed(sentence=line, why="the master CV does not say " + ", ".join(map(repr, new))))
        else:
            kept.append(line)
    return "\n".join(kept), removed


def _new(tokens: Sequence[str], allowed: Set[str]) -> list[str]:
    return list(dict.fromkeys(token for token in tokens if not _is_small(token) and _stem(token) not in allowed))


def _objection_to_numbers(tokens: Sequence[str], known: Sequence[str]) -> str:
    """Check that numbers are in the fact's order, each once, and followed by a word that is near them in the fact."""
    start = 0
    for place, number in enumerate(tokens):
        if not (_NUMBER.match(number) or number in COUNT_WORDS):
            continue
        at = next((i for i in range(start, len(known)) if known[i] == number), None)
        if at is None:
            return f"{number!r} is not in the fact's order"
        start = at + 1
        rest = tokens[place + 1 :]
        following = next((token for token in rest if not _is_small(token)), None)
        near = [_stem(token) for token in known[at + 1 :] if not _is_small(token)][:2]
        is_apart = not near and _is_small(rest[0]) if rest else True  # "In 2023 I ...", of a fact that ends in 2023
        if following is not None and not is_apart and _stem(following) not in near:
            return f"the fact does not have {following!r} after {number!r}"
    return ""


def _tokens(text: str) -> list[str]:
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [token for token in found if token not in _PUNCTUATION]


def _is_small(token: str) -> bool:
    return token in SMALL_WORDS


def _stem(word: str) -> str:
    """Remove the endings of English verbs and plurals: "moved", "moving" and "move" are equal."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM_LENGTH - 1:
            return word[: -len(ending)]
    return word
