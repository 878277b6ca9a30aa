"""Kubernetes: the client, and pure functions that read and write its objects."""

import sys
from importlib.util import find_spec, module_from_spec


def _skip_package_imports() -> None:
    """Make `import kubernetes.aio` skip `kubernetes/__init__.py`.

    It would import the synchronous client with requests and oauthlib, which Slipway does not use: 8 MB and 230 modules.
    Remove this when the package imports them lazily.
    """
    spec = find_spec("kubernetes")
    if spec is not None and "kubernetes" not in sys.modules:
        sys.modules["kubernetes"] = module_from_spec(spec)


_skip_package_imports()
