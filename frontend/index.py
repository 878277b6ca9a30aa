"""Vercel's entry point. Vercel deploys this folder as the root, so the package `frontend` is registered first."""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

HERE = Path(__file__).resolve().parent

if "frontend" not in sys.modules:
    spec = spec_from_file_location("frontend", HERE / "__init__.py", submodule_search_locations=[str(HERE)])
    assert spec and spec.loader
    sys.modules["frontend"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["frontend"])

from frontend.app import create_app  # noqa: E402

ALL_INTERFACES = "0.0.0.0"  # noqa: S104  # not loopback: a password is required

app = create_app(os.environ, ALL_INTERFACES)
