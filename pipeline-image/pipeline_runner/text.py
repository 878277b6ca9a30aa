"""Text processing: cleaning, words and their stems."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from pipeline_runner.stop_words import EMPTY_WORDS, STOP_WORDS

_BREAKS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(r"\w+(?:\+\+|#)?")  # C++ and C# are words
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")  # scripts without spaces
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\W\d_a-z])|(?<=[\u3002\uff01\uff1f])")
_SHORT_NUMBER_DIGITS = 4  # "5 years", "2021": no meaning on their own, unlike "27001"


def clean(text: str) -> str:
    """Return the text with plain line breaks and without characters that file formats reject."""
    return _SURROGATES.sub("\ufffd", _UNPRINTABLE.sub("", _BREAKS.sub("\n", text)))


def encodable(value: Any) -> Any:
    """Return a JSON value without lone surrogates, which Python's parser accepts and encoders reject."""
    match value:
        case str():
            return _SURROGATES.sub("\ufffd", value)
        case list():
            return [encodable(each) for each in value]
        case dict():
            return {encodable(name): encodable(each) for name, each in value.items()}
        case _:
            return value


def one_line(text: str) -> str:
    """Return the cleaned text on one line, for headings, log lines and file names."""
    return " ".join(clean(text).split())


def sentences(text: str) -> list[str]:
    """Split a paragraph into its sentences; an abbreviation before a lower-case letter does not end one."""
    return [part for part in _SENTENCE_END.split(one_line(text)) if part]


def words(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in the order of the text, with repetitions."""
    return [stem for stem, _surface in _stemmed(text)]


def surfaces(text: str) -> dict[str, str]:
    """Map each stem of `words` to its first form in the text."""
    found: dict[str, str] = {}
    for stem, surface in _stemmed(text):
        found.setdefault(stem, surface)
    return found


def language(text: str) -> str | None:
    """Guess ``English`` or ``German`` from a text's stop words; None if unclear."""
    tokens = [token.casefold() for token in _TOKEN.findall(text)]
    counts = {name: sum(token in small for token in tokens) for name, small in STOP_WORDS.items()}
    best, second = sorted(counts, key=lambda name: -counts[name])[:2]
    return best if counts[best] >= max(3, 2 * counts[second]) else None


def _stemmed(text: str) -> list[tuple[str, str]]:
    found = []
    for surface in _TOKEN.findall(unicodedata.normalize("NFKC", text)):
        if _UNSPACED.fullmatch(surface):
            found += [(pair, pair) for pair in _pairs(surface)]
            continue
        word = surface.casefold()
        if not (word in EMPTY_WORDS or _is_noise(word)):
            found.append((_stem(word), surface))
    return found


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(max(1, len(run) - 1))]


def _is_noise(word: str) -> bool:
    if word.isdecimal():
        return len(word) <= _SHORT_NUMBER_DIGITS
    return len(word) == 1 and word.isascii() and word not in "cr"  # C and R are programming languages


def _stem(word: str) -> str:
    """Remove an English plural ending; both sides of a comparison are stemmed, so errors do no harm."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
