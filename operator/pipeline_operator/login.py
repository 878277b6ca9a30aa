"""Authenticates kopf with the pod's service account or, outside a cluster, with KUBECONFIG."""

from __future__ import annotations

import kopf

from launcher.domain.errors import ConfigurationError


def connection_info(settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return the cluster's address and credentials. Raises `ConfigurationError` if there are none."""
    found = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        raise ConfigurationError("No cluster is configured. Run in a pod with a service account, or set KUBECONFIG.")
    return found
