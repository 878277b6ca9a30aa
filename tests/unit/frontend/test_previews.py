from __future__ import annotations

import pytest

from frontend.previews import kind_of, rendered


def test_markdown_is_rendered() -> None:
    page = rendered("# Mara\n\n* one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert "<h1>Mara</h1>" in page and "<li>one</li>" in page and "<td>1</td>" in page


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "text <img src=x onerror=alert(1)> text",
        "[x](javascript:alert(1))",
        "[x](vbscript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "<javascript:alert(1)>",
        '[x](https://a.example "a" onmouseover="alert(1)")',
        "![x](https://tracker.example/pixel.png)",
        '```"><script>alert(1)</script>\n```',
    ],
)
def test_hostile_markdown_is_neutralised(hostile: str) -> None:
    page = rendered(hostile).lower()
    assert not any(mark in page for mark in ("<script", "<img", 'href="javascript', 'href="vbscript', 'href="data'))
    assert "onmouseover" not in page or "&quot;" in page


def test_cells_are_aligned_without_inline_styles() -> None:
    page = rendered("| a | b | c | d |\n|:--|--:|:-:|---|\n| 1 | 2 | 3 | 4 |\n")
    assert "style=" not in page
    assert '<th class="align-right">b</th>' in page and '<td class="align-center">3</td>' in page
    assert "<td>4</td>" in page


def test_links_send_no_referrer() -> None:
    assert 'rel="noopener noreferrer nofollow"' in rendered("[x](https://a.example)")


@pytest.mark.parametrize(
    ("name", "kind"), [("CV.md", "markdown"), ("dossier.txt", "text"), ("CV.docx", ""), ("md", "markdown"), ("", "")]
)
def test_kind_of_preview_depends_on_the_suffix(name: str, kind: str) -> None:
    assert kind_of(name) == kind
