"""Previews of artifacts: Markdown as HTML, text as text. A pipeline's output is untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

MAX_BYTES = 500_000


class _Renderer(RendererHTML):
    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Send no referrer to the site behind a link."""
        tokens[idx].attrSet("rel", "noopener noreferrer nofollow")
        return self.renderToken(tokens, idx, options, env)

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """Align a cell with a class: the Content-Security-Policy forbids inline styles."""
        if style := tokens[idx].attrs.pop("style", ""):
            tokens[idx].attrSet("class", str(style).replace("text-align:", "align-"))
        return self.renderToken(tokens, idx, options, env)

    th_open = td_open


def kind_of(filename: str) -> str:
    """Return `markdown` or `text` for a file that has a preview, else an empty string."""
    suffix = filename.rpartition(".")[2].lower()
    return {"md": "markdown", "txt": "text", "json": "text", "csv": "text", "log": "text"}.get(suffix, "")


def rendered(markdown: str) -> Markup:
    """Render Markdown: HTML is escaped, images become their alt texts, only web links are kept."""
    return Markup(_parser().render(markdown))  # noqa: S704 - the parser escapes everything that it does not generate


def _parser() -> MarkdownIt:
    options: dict[str, Any] = {"html": False, "linkify": False, "typographer": False}
    return MarkdownIt("commonmark", options, renderer_cls=_Renderer).enable("table").disable("image")
