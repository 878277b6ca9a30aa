"""Kubernetes as Slipway sees it: one client of plain dictionaries, manifests as pure functions, and what they mean."""

import sys
from importlib.util import find_spec, module_from_spec


def _leave_out_the_root() -> None:
    """Let `kubernetes.aio` be imported without what `kubernetes/__init__.py` imports beside it.

    That is the synchronous client with requests and oauthlib, which nobody here calls: 8 MB and 230 modules a process.
    Can go when the package's root imports lazily.
    """
    spec = find_spec("kubernetes")
    if spec is not None and "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = module_from_spec(spec)


_leave_out_the_root()
