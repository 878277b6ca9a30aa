"""``CV.docx``, converted from the Markdown of ``CV.md``."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from docx import Document
from docx.document import Document as DocumentObject
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor
from docx.styles.style import BaseStyle, ParagraphStyle
from docx.text.paragraph import Paragraph
from docx.text.run import Run
from markdown_it.token import Token

from pipeline_runner.markup import parse
from pipeline_runner.text import clean

FIXED_TIME = datetime(2000, 1, 1)  # naive: a document's properties have no time zone
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format supports
_LINK_SCHEMES = ("http://", "https://", "mailto:", "tel:")
_SIDE_MARGIN, _TOP_MARGIN = Mm(20), Mm(15)
_FONT = "Calibri"
_INK, _ACCENT = RGBColor(0x22, 0x22, 0x22), RGBColor(0x1F, 0x3A, 0x5F)


class _Style(NamedTuple):
    """The font size, and the space before and after a paragraph, in points."""

    size: float
    before: float
    after: float
    color: RGBColor = _INK


_STYLES = {
    "Normal": _Style(10.5, 0, 3),
    "Heading 1": _Style(22, 0, 2, _ACCENT),
    "Heading 2": _Style(13, 12, 4, _ACCENT),
    "Heading 3": _Style(11, 7, 0),
    "List Bullet": _Style(10.5, 0, 2),
    "List Number": _Style(10.5, 0, 2),
}


def make_docx(markdown: str, *, title: str) -> bytes:
    """Return the document; the same Markdown gives the same bytes.

    Headings, paragraphs, lists (three levels), bold, italics, code and links are kept.
    """
    document = Document()
    _set_up(document, title)
    in_heading = 0
    lists: list[str] = []
    for token in parse(markdown):
        match token.type:
            case "heading_open":
                in_heading = int(token.tag[1])
            case "heading_close":
                in_heading = 0
            case "bullet_list_open":
                lists.append("List Bullet")
            case "ordered_list_open":
                lists.append("List Number")
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
            case "inline":
                style = f"Heading {in_heading}" if in_heading else _list_style(lists)
                paragraph = document.add_paragraph(style=style)
                paragraph.paragraph_format.keep_with_next = _belongs_to_next(token.children or []) or None
                _write_inline(paragraph, token.children or [])
            case "fence" | "code_block" | "html_block":
                document.add_paragraph(clean(token.content).rstrip("\n"))
            case _:
                pass
    return _with_fixed_times(document)


def _set_up(document: DocumentObject, title: str) -> None:
    section = document.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = _SIDE_MARGIN
    section.top_margin = section.bottom_margin = _TOP_MARGIN
    for name, look in _STYLES.items():
        _apply(document.styles[name], look)
    _rule_below(document.styles["Heading 2"])
    properties = document.core_properties
    properties.title = properties.author = clean(title)[:255]  # the format's limit
    properties.comments = properties.last_modified_by = ""
    properties.created = properties.modified = FIXED_TIME


def _apply(style: BaseStyle, look: _Style) -> None:
    assert isinstance(style, ParagraphStyle)  # all names in _STYLES are paragraph styles
    style.font.name, style.font.size, style.font.color.rgb = _FONT, Pt(look.size), look.color
    fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
    for script in ("w:asciiTheme", "w:hAnsiTheme", "w:eastAsiaTheme", "w:cstheme"):
        fonts.attrib.pop(qn(script), None)  # the theme's font would take precedence
    style.paragraph_format.space_before, style.paragraph_format.space_after = Pt(look.before), Pt(look.after)
    style.paragraph_format.line_spacing = 1.08


def _rule_below(style: BaseStyle) -> None:
    """Draw a thin line below each heading of this style; python-docx has no API for borders."""
    borders, bottom = OxmlElement("w:pBdr"), OxmlElement("w:bottom")
    for name, value in (("val", "single"), ("sz", "4"), ("space", "1"), ("color", str(_ACCENT))):
        bottom.set(qn(f"w:{name}"), value)
    borders.append(bottom)
    properties = style.element.get_or_add_pPr()
    # The schema requires this order: borders come before spacing.
    properties.insert_element_before(borders, "w:shd", "w:tabs", "w:spacing", "w:ind", "w:jc", "w:outlineLvl")


def _list_style(lists: Sequence[str]) -> str:
    if not lists:
        return "Normal"
    depth = min(len(lists), 3)
    return lists[-1] if depth == 1 else f"{lists[-1]} {depth}"


def _belongs_to_next(tokens: Sequence[Token]) -> bool:
    """Whether the line is all italics: the dates under a role's heading, which stay with the role's text."""
    seen = [token.type for token in tokens if token.content or token.type.startswith("em_")]
    return len(seen) > 2 and seen[0] == "em_open" and seen.index("em_close") == len(seen) - 1


def _write_inline(paragraph: Paragraph, tokens: Sequence[Token]) -> None:
    bold = italic = 0
    address = ""
    for token in tokens:
        match token.type:
            case "strong_open" | "strong_close":
                bold += token.nesting
            case "em_open" | "em_close":
                italic += token.nesting
            case "link_open":
                href = str(token.attrGet("href") or "")
                address = href if href.lower().startswith(_LINK_SCHEMES) else ""
            case "link_close":
                address = ""
            case "hardbreak":
                paragraph.add_run().add_break()
            case _:
                text = " " if token.type == "softbreak" else clean(token.content)
                run = paragraph.add_run(text)
                run.bold, run.italic = bold > 0 or None, italic > 0 or None
                if token.type == "code_inline":
                    run.font.name = "Consolas"
                if address:
                    _link(paragraph, run, address)


def _link(paragraph: Paragraph, run: Run, address: str) -> None:
    """Turn a run into a hyperlink; python-docx has no API for that."""
    run.font.underline, run.font.color.rgb = True, _ACCENT
    link = OxmlElement("w:hyperlink")
    link.set(qn("r:id"), paragraph.part.relate_to(address, RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
    link.append(run._r)
    paragraph._p.append(link)


def _with_fixed_times(document: DocumentObject) -> bytes:
    saved, fixed = io.BytesIO(), io.BytesIO()
    document.save(saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(fixed, "w") as target:
        for name in source.namelist():
            member = zipfile.ZipInfo(name, _ZIP_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # always Unix, so that the bytes are the same on every system
            target.writestr(member, source.read(name))
    return fixed.getvalue()
