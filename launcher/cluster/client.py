"""The Kubernetes client for one namespace, in plain dictionaries. The only module that imports kubernetes.

`kubernetes.aio`'s ApiClient does authentication and transport. Its typed APIs and models are not imported, because they
use 187 MiB per process. Paths: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import list_kube_config_contexts, load_kube_config

from launcher.cluster.port import Listing, Manifest
from launcher.domain.errors import (
    ClusterError,
    ClusterUnavailable,
    ConfigurationError,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
)
from launcher.domain.runs import now

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3)
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=300)  # after that, the stream is reopened
_PATHS = {
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "ResourceQuota": "/api/v1/namespaces/{namespace}/resourcequotas",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
}
_CONNECTIONS = 512  # one for each log that is followed
_MERGE_PATCH = "application/merge-patch+json"


class KubernetesClient:
    """A `Cluster` that talks to the API server."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api, self.namespace = api, namespace
        self.unavailable_at: datetime | None = None

    @classmethod
    async def connect(cls, namespace: str | None = None) -> Self:
        """Connect with the pod's service account or, outside a cluster, with KUBECONFIG.

        `namespace` defaults to that of the account or the context. Raises `ConfigurationError` if there is neither.
        """
        configuration = Configuration()
        configuration.connection_pool_maxsize = _CONNECTIONS
        configuration.client_session_kwargs = {"trust_env": False}  # never use a proxy
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG"):
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                namespace = namespace or (_ACCOUNT / "namespace").read_text().strip()
            else:
                await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
                _, context = list_kube_config_contexts()  # type: ignore[no-untyped-call]
                namespace = namespace or context["context"].get("namespace", "default")
        except (ConfigException, OSError, KeyError) as exc:
            text = f"No cluster is configured: {exc}. Run in a pod with a service account, or set KUBECONFIG."
            raise ConfigurationError(text) from exc
        return cls(ApiClient(configuration), namespace)

    async def close(self) -> None:
        """See `Cluster`."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, name: str) -> Manifest:
        """See `Cluster`."""
        return await self._object("GET", self._path(kind, name))

    async def list(self, kind: str, *, labels: str = "", fields: str = "") -> Listing:
        """See `Cluster`."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        answer = await self._object("GET", self._path(kind), {name: text for name, text in query.items() if text})
        return Listing(answer["items"], int(answer["metadata"]["resourceVersion"]))

    async def create(self, kind: str, manifest: Manifest) -> Manifest:
        """See `Cluster`."""
        return await self._object("POST", self._path(kind), body=manifest)

    async def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        """See `Cluster`."""
        return await self._object("PATCH", self._path(kind, name), body=patch, content_type=_MERGE_PATCH)

    async def delete(self, kind: str, name: str, uid: str) -> None:
        """See `Cluster`."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        await self._object("DELETE", self._path(kind, name), body=body)

    @asynccontextmanager
    async def log(
        self,
        pod: str,
        container: str,
        *,
        since: str | None = None,
        follow: bool = True,
        last_lines: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `Cluster`."""
        query = {"container": container, "timestamps": "true", "follow": str(follow).lower()}
        if since:
            query["sinceTime"] = since
        if last_lines is not None:
            query["tailLines"] = str(last_lines)
        async with _translated():
            response = await self._request("GET", self._path("Pod", pod) + "/log", query, timeout=_STREAM_TIMEOUT)
            try:
                if response.status != 200:
                    raise _error("GET", response.status, await response.read())
                yield response.content.iter_any()
            finally:
                response.close()

    def _path(self, kind: str, name: str | None = None) -> str:
        path = _PATHS[kind].format(namespace=self.namespace)
        return path if name is None else f"{path}/{name}"

    async def _object(self, method: str, path: str, query: Mapping[str, str] | None = None, **body: Any) -> Manifest:
        try:
            async with _translated():
                response = await self._request(method, path, query or {}, **body)
                content = await response.read()
                if response.status >= 400:
                    raise _error(method, response.status, content)
                found: Manifest = json.loads(content)
                return found
        except ClusterUnavailable:  # not in log(): an interrupted log does not mean that the control plane is down
            self.unavailable_at = now()
            raise

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> aiohttp.ClientResponse:
        call = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json, */*", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(*call, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        return response


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as exc:
        raise ClusterUnavailable(f"Kubernetes does not answer: {type(exc).__name__}: {exc}"[:300]) from exc


def _error(method: str, status: int, content: bytes) -> ClusterError:
    try:
        document = json.loads(content)
        message, reason = str(document.get("message", "")), document.get("reason")
    except ValueError:
        message, reason = content[:200].decode("utf-8", "replace"), None
    match status:
        case 404:
            return ObjectMissing(message)
        case 409 if reason == "AlreadyExists":
            return ObjectExists(message)
        case 409:
            return ObjectChanged(message)
        case _ if status == 429 or status >= 500:
            return ClusterUnavailable(f"Kubernetes is temporarily unavailable: {message}")
        case _ if status == 401 or (status == 403 and method == "GET"):  # temporary while the API server starts
            return ClusterUnavailable(f"Kubernetes denied access: {message}")
        case _:
            return ClusterError(f"Kubernetes refused: {message}")
