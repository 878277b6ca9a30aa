"""Kubernetes: the client, and pure functions that write and read its objects."""

import sys
from importlib.util import find_spec, module_from_spec


def _leave_out_the_root() -> None:
    """Let `kubernetes.aio` be imported without what `kubernetes/__init__.py` imports.

    That is the synchronous client with requests and oauthlib, which Slipway does not use: 8 MB and 230 modules.
    Remove this when the package's root imports lazily.
    """
    spec = find_spec("kubernetes")
    if spec is not None and "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = module_from_spec(spec)


_leave_out_the_root()
