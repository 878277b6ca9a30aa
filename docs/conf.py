"""The documentation site: Markdown in this folder, and reference pages that `generate` makes from the code."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "Slipway"
author = "The Slipway contributors"
version = release = version_of("slipway")
extensions = ["myst_parser"]
exclude_patterns = ["_build", "screenshots"]
nitpicky = True  # a link to a page or heading that does not exist is an error with `sphinx-build -W`
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = "Slipway"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Sphinx) -> None:
    """Write the generated pages before Sphinx looks for sources."""
    from generate import write_pages

    app.connect("builder-inited", lambda _: write_pages(HERE / "reference/generated"))
