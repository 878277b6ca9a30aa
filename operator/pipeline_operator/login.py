"""How kopf signs in: as the pod's service account or, outside a cluster, as KUBECONFIG says."""

from __future__ import annotations

import kopf

from launcher.domain.errors import ConfigurationError


def connection_info(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return where the cluster is and who we are. Raises `ConfigurationError` where there is neither."""
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise ConfigurationError("No cluster to use: run in a pod with a service account, or set KUBECONFIG.")
    return found
