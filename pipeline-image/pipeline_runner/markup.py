"""The Markdown parser of the whole package, so that all modules agree."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark")


def parse(markdown: str) -> list[Token]:
    """Return the block tokens of a document; inline tokens are the children of ``inline`` tokens."""
    return _PARSER.parse(markdown)


def plain(markdown: str) -> str:
    """Convert inline Markdown to one line of plain text, links as ``text (URL)``."""
    pieces: list[str] = []
    for block in _PARSER.parseInline(markdown):
        pieces += _plain_pieces(block.children or [])
    return " ".join("".join(pieces).split())


def _plain_pieces(tokens: Sequence[Token]) -> list[str]:
    pieces: list[str] = []
    opened: list[tuple[str, int]] = []  # the URL of each open link, and the index of its text
    for token in tokens:
        match token.type:
            case "softbreak" | "hardbreak":
                pieces.append(" ")
            case "link_open":
                opened.append((str(token.attrGet("href") or ""), len(pieces)))
            case "link_close":
                address, begin = opened.pop()
                text = "".join(pieces[begin:])
                if address and address.removeprefix("mailto:").removeprefix("https://").rstrip("/") != text:
                    pieces.append(f" ({address})")
            case _:
                pieces.append(token.content)
    return pieces
