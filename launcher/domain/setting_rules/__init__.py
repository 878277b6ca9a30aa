"""Validates settings: returns the value to use, or raises an error with a sentence that never repeats the value.

Launcher, operator, front end, `slipway` and k8s/config.py share these rules, so they use only the standard library. The
folder frontend/setting_rules is a copy, because Vercel deploys only frontend/. `make rules` updates it, and a test
compares the two.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from .cluster import image, kubernetes_name, kubernetes_names, kubernetes_namespace, quantity
from .stores import mongodb_uri, redis_url
from .texts import MAKE_ONE, MIN_SECRET_BYTES, Unusable, number, password, plain, secret, strong_secret
from .web import host_names, http_url, origins

__all__ = [
    "KEYS",
    "MAKE_ONE",
    "MIN_SECRET_BYTES",
    "RULES",
    "Unusable",
    "checked",
    "number",
    "plain",
    "strong_secret",
    "typos",
    "usable",
]

Rule = Callable[[str, str], str]

KEYS = ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "FIRECRAWL_API_KEY", "LANGCHAIN_API_KEY")
"""API keys of services that pipelines use."""
_SECRETS = ("RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS", "FRONTEND_SECRET_KEY", *KEYS)
_positive = partial(number, least=1)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SECRETS, secret),
    "FRONTEND_PASSWORD": password,
    "REDIS_URL": redis_url,
    **dict.fromkeys(("MONGODB_URI", "PIPELINE_MONGODB_URI"), mongodb_uri),
    **dict.fromkeys(("RUNNER_URL", "RUNNER_PUBLIC_URL"), http_url),
    "CORS_ORIGINS": origins,
    "FRONTEND_HOSTS": host_names,
    "PIPELINE_IMAGE": image,
    "PIPELINE_EPHEMERAL_STORAGE": quantity,
    "KUBE_NAMESPACE": kubernetes_namespace,
    **dict.fromkeys(("DATA_CLAIM", "PIPELINE_SECRET", "CREDENTIALS_SECRET", "MASTER_CV_CONFIGMAP"), kubernetes_name),
    "IMAGE_PULL_SECRETS": kubernetes_names,
    "MAX_CONCURRENCY": partial(number, least=1, most=1000),
    **dict.fromkeys(
        ("MAX_QUEUED", "MAX_BULK_ITEMS", "MAX_STREAMS", "MAX_ARTIFACT_FILES", "LOG_BUFFER_LIMIT"), _positive
    ),
    **dict.fromkeys(("RATE_LIMIT_PER_MINUTE", "TICKET_RATE_LIMIT_PER_MINUTE"), _positive),
    **dict.fromkeys(("PIPELINE_TIMEOUT_SECONDS", "MAX_TIMEOUT_SECONDS", "START_GRACE_SECONDS"), _positive),
    **dict.fromkeys(("MAX_LOG_BYTES", "MAX_ARTIFACT_BYTES"), partial(number, least=1024)),
    "REDIS_TTL_SECONDS": partial(number, least=60),
    "RETENTION_DAYS": partial(number, whole=False, above=True),
    "TERMINATION_GRACE_SECONDS": partial(number, whole=False),
    **dict.fromkeys(("IMAGE_GRACE_SECONDS", "UNSCHEDULABLE_GRACE_SECONDS", "CANNOT_START_GRACE_SECONDS"), number),
    "JOB_TTL_SECONDS": number,
    "STREAM_SECONDS": partial(number, least=1, most=3600, whole=False),
    "FRONTEND_PROXIES": partial(number, most=10),
    **dict.fromkeys(("PORT", "FRONTEND_PORT"), partial(number, most=65535)),
    "PROBE_PORT": partial(number, most=65534),
}
"""The rule for each setting. Any other setting is plain text."""


def usable(name: str, value: str) -> str:
    """Return the value to use. Raises `Unusable`."""
    return RULES.get(name, plain)(name, value)


def checked(environ: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return the valid values of these settings, and errors for the others. An empty value counts as not set."""
    values: dict[str, str] = {}
    faults: list[str] = []
    for name in names:
        if text := environ.get(name):
            try:
                values[name] = usable(name, text)
            except Unusable as exc:
                faults.append(str(exc))
    return values, faults


def typos(environ: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Return a note for each variable that looks like a mistyped name of one of these settings that is not set."""
    notes = []
    for name in sorted(environ.keys() - set(known)):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85) if name.isupper() else []
        if near and not environ.get(near[0]):
            notes.append(f"{name} is not a setting of Slipway; did you mean {near[0]}?")
    return notes
