"""Runs the operator: reads the settings, then lets kopf watch the cluster until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

import kopf
import prometheus_client
import typer

from launcher.cluster.client import KubernetesClient
from launcher.domain.errors import ConfigurationError
from launcher.wiring import startup_faults
from pipeline_operator import handlers
from pipeline_operator.settings import OperatorSettings


def run_until_stopped() -> None:
    """Run the operator for one namespace until SIGTERM. Raises `ConfigurationError`; exits with 1 if kopf fails."""
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    for note in OperatorSettings.notes(os.environ):
        typer.echo(f"Note: {note}", err=True)
    settings = OperatorSettings.from_environment(os.environ, lambda found: startup_faults(found, os.environ))
    for port in (settings.PROBE_PORT, settings.PROBE_PORT + 1) if settings.PROBE_PORT else ():
        _check_free(settings.PROBE_HOST, port)
    namespace = asyncio.run(_namespace(settings))
    registry = kopf.OperatorRegistry()
    handlers.register(registry, settings)
    endpoint = None
    if settings.PROBE_PORT:
        endpoint = f"http://{settings.PROBE_HOST}:{settings.PROBE_PORT}/healthz"
        prometheus_client.start_http_server(settings.PROBE_PORT + 1, addr=settings.PROBE_HOST)
    typer.echo(f"Slipway's operator watches the namespace {namespace}")
    try:
        kopf.run(registry=registry, standalone=True, namespaces=[namespace], liveness_endpoint=endpoint)
    except Exception as exc:  # from a kopf task or the startup handler, which has logged it
        typer.echo(f"The operator failed: {exc}", err=True)
        raise typer.Exit(1) from None


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or "not a valid host name"
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {why} (PROBE_HOST, PROBE_PORT)") from None


async def _namespace(settings: OperatorSettings) -> str:
    cluster = await KubernetesClient.connect(settings.KUBE_NAMESPACE)
    await cluster.close()
    return cluster.namespace
