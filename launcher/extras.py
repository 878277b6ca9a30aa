"""The optional dependencies: a command whose extra is not installed says which one it needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OWN = frozenset({"launcher", "pipeline_operator"})


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Exit with code 2 and a sentence if a package of this extra cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as exc:
        if (exc.name or "launcher").partition(".")[0] in _OWN:
            raise
        print(f"{exc.name} is not installed. Install the {extra}: pip install 'slipway-runs[{extra}]'", file=sys.stderr)
        sys.exit(2)
