"""The master CV: everything that the documents may say about the candidate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pipeline_runner.errors import MasterCvMissingError
from pipeline_runner.markup import parse, plain
from pipeline_runner.text import clean, one_line

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)  # private notes must not reach an employer
_DOCUMENT_TITLES = frozenset({"cv", "curriculum vitae", "master cv", "resume", "résumé", "lebenslauf"})
_WORD = re.compile(r"\w+")


class Kind(Enum):
    """The kind of a section, by its title in English or German."""

    PROFILE = frozenset({"profile", "summary", "about", "profil", "kurzprofil", "zusammenfassung"})
    EXPERIENCE = frozenset({"experience", "employment", "career", "berufserfahrung", "werdegang", "erfahrung"})
    SKILLS = frozenset({"skills", "competencies", "technologies", "kenntnisse", "kompetenzen", "fähigkeiten"})
    EDUCATION = frozenset({"education", "studies", "ausbildung", "bildung", "studium"})
    LANGUAGES = frozenset({"languages", "sprachen", "sprachkenntnisse"})
    OTHER = frozenset[str]()


@dataclass(kw_only=True)
class Entry:
    """A role, a degree, or the body of a section. All texts are the CV's inline Markdown."""

    #: The subheading, or empty.
    heading: str = ""
    #: Paragraphs before the bullets: dates, place, a line on the employer.
    details: list[str] = field(default_factory=list)
    bullets: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The source of this entry's bullets: ``Engineer, Example GmbH, 2019 - 2022``."""
        return ", ".join(plain(text) for text in (self.heading, *self.details[:1]) if text)


@dataclass(kw_only=True)
class Section:
    """A section of the CV."""

    title: str
    kind: Kind
    entries: list[Entry] = field(default_factory=list)


@dataclass(kw_only=True)
class MasterCv:
    """The whole CV."""

    name: str = ""
    #: The lines under the name: headline, address, links.
    contact: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def of_kind(self, *kinds: Kind) -> list[Section]:
        """Return the sections of these kinds, in the CV's order."""
        return [section for section in self.sections if section.kind in kinds]

    def texts(self) -> list[str]:
        """Return all texts of the CV, as inline Markdown and as plain text."""
        found = [self.name, *self.contact]
        for section in self.sections:
            found.append(section.title)
            for entry in section.entries:
                found += [entry.heading, *entry.details, *entry.bullets]
        return [*found, *map(plain, found)]


def read_master_cv(path: Path) -> MasterCv:
    """Read the file; invalid UTF-8 becomes U+FFFD.

    Raises:
        MasterCvMissingError: The file is missing or empty.
    """
    try:
        markdown = path.read_bytes().decode("utf-8-sig", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        # A container runtime creates a folder in place of a missing file that it should mount.
        kind = "is a folder" if isinstance(exc, IsADirectoryError) else "does not exist"
        msg = f"The master CV {path} {kind}. Put your CV there as Markdown, or set MASTER_CV to its path."
        raise MasterCvMissingError(msg) from exc
    cv = parse_master_cv(markdown)
    if not cv.name and not cv.sections:
        msg = f"The master CV {path} is empty. Write your CV there as Markdown, with a heading for each section."
        raise MasterCvMissingError(msg)
    return cv


def parse_master_cv(markdown: str) -> MasterCv:
    """Parse a CV.

    The first heading is the name (without one, the first line), the paragraphs under it are the contact lines.
    A heading of level 1 or 2 opens a section; a deeper one opens an entry, and so does a paragraph that follows
    bullets, since many people write their roles in bold instead of as headings.
    """
    cv = MasterCv()
    heading_level = 0
    items = 0
    for token in parse(_COMMENT.sub("", _FRONT_MATTER.sub("", clean(markdown)))):
        match token.type:
            case "heading_open":
                heading_level = int(token.tag[1])
            case "heading_close":
                heading_level = 0
            case "list_item_open":
                items += 1
            case "list_item_close":
                items -= 1
            case "inline" if heading_level:
                _take_heading(cv, one_line(token.content), heading_level)
            case "inline" | "fence" | "code_block":
                _take_text(cv, token.content, is_bullet=items > 0)
            case _:
                pass
    return cv


def _take_heading(cv: MasterCv, title: str, level: int) -> None:
    kind = _kind_of(title)
    if title.casefold() in _DOCUMENT_TITLES and not cv.sections:
        return
    if not cv.name and not cv.sections and kind is Kind.OTHER:
        cv.name = title
    elif level <= 2 or not cv.sections:
        cv.sections.append(Section(title=title, kind=kind))
    else:
        cv.sections[-1].entries.append(Entry(heading=title))


def _take_text(cv: MasterCv, content: str, *, is_bullet: bool) -> None:
    if not cv.sections:
        lines = [line for line in (one_line(part).rstrip("\\") for part in content.split("\n")) if line]
        if lines and not cv.name:
            cv.name = lines.pop(0)
        cv.contact += lines
        return
    text = one_line(re.sub(r"\\\n", "\n", content))
    if not text:
        return
    entries = cv.sections[-1].entries
    if not entries or (not is_bullet and entries[-1].bullets):
        entries.append(Entry())
    (entries[-1].bullets if is_bullet else entries[-1].details).append(text)


def _kind_of(title: str) -> Kind:
    found = set(_WORD.findall(plain(title).casefold()))
    return next((kind for kind in Kind if kind.value & found), Kind.OTHER)
