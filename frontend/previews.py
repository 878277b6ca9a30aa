"""What is shown of an artifact: Markdown as HTML, text as text. What a pipeline wrote is hostile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

MOST_BYTES = 500_000


class _Renderer(RendererHTML):
    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Tell the site behind a link nothing of where it stood."""
        tokens[idx].attrSet("rel", "noopener noreferrer nofollow")
        return self.renderToken(tokens, idx, options, env)

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Align a cell by a class: the pages' policy refuses inline styles."""
        if style := tokens[idx].attrs.pop("style", ""):
            tokens[idx].attrSet("class", str(style).replace("text-align:", "align-"))
        return self.renderToken(tokens, idx, options, env)

    th_open = td_open


def kind_of(filename: str) -> str:
    """Return `markdown` or `text` for what can be shown, else nothing."""
    suffix = filename.rpartition(".")[2].lower()
    return {"md": "markdown", "txt": "text", "json": "text", "csv": "text", "log": "text"}.get(suffix, "")


def rendered(markdown: str) -> Markup:
    """Render Markdown; HTML in it stays text, images are left to their words, links lead to the web alone."""
    return Markup(_parser().render(markdown))  # noqa: S704 - the parser escapes all that it does not make itself


def _parser() -> MarkdownIt:
    options: dict[str, Any] = {"html": False, "linkify": False, "typographer": False}
    return MarkdownIt("commonmark", options, renderer_cls=_Renderer).enable("table").disable("image")
