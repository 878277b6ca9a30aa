"""``CV.docx``, made from the Markdown of ``CV.md``."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime

from docx import Document
from docx.document import Document as DocumentObject
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt
from docx.text.paragraph import Paragraph
from docx.text.run import Run
from markdown_it.token import Token

from pipeline_runner.markup import parse

FIXED_TIME = datetime(2000, 1, 1)  # without a zone: a document's properties carry none
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows
_LINK_SCHEMES = ("http://", "https://", "mailto:", "tel:")
_MARGIN = Mm(20)


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
                _write_inline(document.add_paragraph(style=style), token.children or [])
            case "fence" | "code_block" | "html_block":
                document.add_paragraph(token.content.rstrip("\n"))
            case _:
                pass
    return _with_fixed_times(document)


def _set_up(document: DocumentObject, title: str) -> None:
    section = document.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = _MARGIN
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = "Calibri", Pt(10.5)
    properties = document.core_properties
    properties.title = properties.author = title[:255]  # the format's limit
    properties.comments = properties.last_modified_by = ""
    properties.created = properties.modified = FIXED_TIME


def _list_style(lists: Sequence[str]) -> str:
    if not lists:
        return "Normal"
    depth = min(len(lists), 3)
    return lists[-1] if depth == 1 else f"{lists[-1]} {depth}"


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
                text = " " if token.type == "softbreak" else token.content
                run = paragraph.add_run(text)
                run.bold, run.italic = bold > 0 or None, italic > 0 or None
                if token.type == "code_inline":
                    run.font.name = "Consolas"
                if address:
                    _link(paragraph, run, address)


def _link(paragraph: Paragraph, run: Run, address: str) -> None:
    """Make a link of a run: python-docx reads hyperlinks but has no call that writes one."""
    run.font.underline = True
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
            member.create_system = 3  # Unix, also where it is not: the bytes shall not tell
            target.writestr(member, source.read(name))
    return fixed.getvalue()
