"""The Kubernetes client for one namespace, in plain dictionaries. The only module that imports kubernetes.

`kubernetes.aio`'s ApiClient does authentication and transport. Its typed APIs and models are not imported, because they
use 187 MiB per process. Paths: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/
"""

from __future__ import annotations

import asyncio
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

from launcher.cluster.port import Listing, Manifest, WatchEvent
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
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=90)  # a bookmark comes each minute
_PAGE_SIZE = 250
_BUSY_SECONDS = 10.0  # how long a request is repeated while the API server has too many
_BUSY_PAUSE_SECONDS = 1.0  # at least
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

    async def pages(self, kind: str, *, labels: str = "") -> AsyncIterator[Listing]:
        """See `Cluster`."""
        query = {"labelSelector": labels, "limit": str(_PAGE_SIZE)}
        while True:
            answer = await self._object("GET", self._path(kind), query)
            yield Listing(answer["items"], int(answer["metadata"]["resourceVersion"]))
            if not (rest := answer["metadata"].get("continue")):
                return
            query["continue"] = rest

    @asynccontextmanager
    async def watch(self, kind: str, *, labels: str = "", since: int) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        """See `Cluster`."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": labels,
            "resourceVersion": str(since),
        }
        async with _translated():
            response = await self._request("GET", self._path(kind), query, timeout=_WATCH_TIMEOUT)
            try:
                if response.status != 200:
                    raise _error("GET", response.status, await response.read())
                yield _events(response)
            finally:
                response.close()

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
                response = await self._request_patiently(method, path, query or {}, **body)
                content = await response.read()
                if response.status >= 400:
                    raise _error(method, response.status, content)
                found: Manifest = json.loads(content)
                return found
        except ClusterUnavailable:  # not in log(): an interrupted log does not mean that the control plane is down
            self.unavailable_at = now()
            raise

    async def _request_patiently(
        self, method: str, path: str, query: Mapping[str, str], **body: Any
    ) -> aiohttp.ClientResponse:
        """Send a request. While the API server is busy (429), repeat it after the pause that the server asks for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _BUSY_SECONDS
        while True:
            response = await self._request(method, path, query, **body)
            pause = _retry_after(response)
            if response.status != 429 or loop.time() + pause > deadline:
                return response
            response.release()
            await asyncio.sleep(pause)

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


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[WatchEvent]:
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            event = json.loads(line)
            if event["type"] == "ERROR":  # usually 410: the version is too old
                raise ObjectChanged(f"Kubernetes ended a watch: {event['object'].get('message', '')}")
            if event["type"] != "BOOKMARK":
                yield WatchEvent(event["object"], event["type"] == "DELETED")


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return max(float(text) if text.isdecimal() else 0.0, _BUSY_PAUSE_SECONDS)


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
        case 409 | 410:
            return ObjectChanged(message)
        case _ if status == 429 or status >= 500:
            return ClusterUnavailable(f"Kubernetes is temporarily unavailable: {message}")
        case _ if status == 401 or (status == 403 and method == "GET"):  # temporary while the API server starts
            return ClusterUnavailable(f"Kubernetes denied access: {message}")
        case _:
            return ClusterError(f"Kubernetes refused: {message}")
