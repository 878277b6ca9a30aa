"""The documentation site: Markdown in this folder, and reference pages that `generate` makes from the code."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "explanation/security.md",
    "frontend/README.md": "how-to/connect-a-front-end.md",
    "k8s/README.md": "reference/scripts.md",
    "charts/slipway/README.md": "reference/chart.md",
}
"""The pages that include a file from elsewhere in the repository."""
sys.path.insert(0, str(HERE))

project = "Slipway"
author = "The Slipway contributors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
extensions = ["myst_parser"]
exclude_patterns = ["_build", "screenshots", "reference/generated"]
nitpicky = True  # a link to a page or heading that does not exist is an error with `sphinx-build -W`
myst_heading_anchors = 4
smartquotes = False  # options keep their two hyphens
highlight_language = "text"
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = "Slipway"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def with_links_of_the_site(text: str, file: Path, docname: str) -> str:
    """Return the text with its relative links, which lead to files on GitHub, as they lead to pages from `docname`."""

    def leads_to(link: re.Match[str]) -> str:
        target = (file.parent / link[1]).resolve()
        if not target.is_relative_to(ROOT) or target.is_dir():
            return link[0]
        page = PAGES.get(str(target.relative_to(ROOT)))
        path = os.path.relpath(HERE / page if page else target, (HERE / docname).parent)
        of_the_site = page or target.is_relative_to(HERE)
        return f"]({path}" if of_the_site else f"](path:{path}"  # a file to download, also if it is Markdown

    return re.sub(r"\]\(([^)\s#:]+)(?=[)#])", leads_to, text)


def setup(app: Sphinx) -> None:
    """Write the generated pages before Sphinx looks for sources, and adapt links as they are read."""
    from generate import write_pages

    def read(app: Sphinx, docname: str, content: list[str]) -> None:
        content[0] = with_links_of_the_site(content[0], HERE / f"{docname}.md", docname)

    def include(app: Sphinx, file: Path, _: str, content: list[str]) -> None:
        content[0] = with_links_of_the_site(content[0], HERE / file, app.env.docname)

    app.connect("builder-inited", lambda _: write_pages(HERE / "reference/generated"))
    app.connect("source-read", read)
    app.connect("include-read", include)
