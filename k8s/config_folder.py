"""Reads and checks the configuration folder: `.env`, `master-cv.md`, `credentials/`, `registry.json`.

It only reads the folder and returns the result. It uses only the standard library, as a bare server has nothing else.
"""

from __future__ import annotations

import base64
import difflib
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the launcher's rules in this checkout
from launcher.domain.setting_rules import MAKE_ONE, RULES, Unusable, checked, number, strong_secret
from launcher.domain.setting_rules.env_file import read_env

ENV_SECRET = "slipway-env"  # noqa: S105 (a name)
PIPELINE_SECRET = "slipway-pipeline"  # noqa: S105
CREDENTIALS_SECRET = "slipway-credentials"  # noqa: S105
REGISTRY_SECRET = "slipway-registry"  # noqa: S105
MASTER_CV = "slipway-master-cv"
LABELS = {"app.kubernetes.io/part-of": "slipway", "slipway.dev/config": "true"}
CREDENTIALS_FOLDER = "/app/credentials"

LAUNCHER_SECRETS = ("RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS", "MONGODB_URI", "REDIS_URL")
"""The launcher's variables in `slipway-env`; of these, only MONGODB_URI is passed to runs, if they have none."""
RUNS_URI = "PIPELINE_MONGODB_URI"
"""The MONGODB_URI of runs."""
CHART_VALUES = {
    "MAX_CONCURRENCY": "queue.maxConcurrency",
    "MAX_QUEUED": "queue.maxQueued",
    "MAX_BULK_ITEMS": "queue.maxBulkItems",
    "PIPELINE_TIMEOUT_SECONDS": "queue.timeoutSeconds",
    "MAX_TIMEOUT_SECONDS": "queue.maxTimeoutSeconds",
    "TERMINATION_GRACE_SECONDS": "queue.terminationGraceSeconds",
    "START_GRACE_SECONDS": "queue.startGraceSeconds",
    "IMAGE_GRACE_SECONDS": "queue.imageGraceSeconds",
    "UNSCHEDULABLE_GRACE_SECONDS": "queue.unschedulableGraceSeconds",
    "CANNOT_START_GRACE_SECONDS": "queue.cannotStartGraceSeconds",
    "LOG_BUFFER_LIMIT": "logs.bufferLimit",
    "MAX_LOG_BYTES": "logs.maxBytes",
    "RETENTION_DAYS": "retention.days",
    "JOB_TTL_SECONDS": "retention.jobTtlSeconds",
    "REDIS_TTL_SECONDS": "retention.redisTtlSeconds",
    "MAX_ARTIFACT_BYTES": "retention.maxArtifactBytes",
    "MAX_ARTIFACT_FILES": "retention.maxArtifactFiles",
    "PIPELINE_EPHEMERAL_STORAGE": "runs.ephemeralStorage",
    "CORS_ORIGINS": "launcher.corsOrigins",
    "RATE_LIMIT_PER_MINUTE": "launcher.rateLimitPerMinute",
    "TICKET_RATE_LIMIT_PER_MINUTE": "launcher.ticketRateLimitPerMinute",
    "MAX_STREAMS": "launcher.maxStreams",
}
"""Settings that are chart values, because the quota and others depend on them too."""
SET_BY_CHART = (
    *("ENGINE", "KUBE_NAMESPACE", "PIPELINE_IMAGE", "DATA_CLAIM", "PIPELINE_SECRET", "CREDENTIALS_SECRET"),
    *("MASTER_CV_CONFIGMAP", "IMAGE_PULL_SECRETS", "PIPELINES_FILE", "ARCHIVE_DIR", "APPLICATIONS_DIR", "PIPELINE_DIR"),
    *("SLIPWAY_ENV", "HOST", "PORT", "PROBE_HOST", "PROBE_PORT", "REDIS_URL"),
)
"""Settings that the chart sets itself; they are ignored in `.env`, except REDIS_URL with `--redis external`."""

MAX_OBJECT_BYTES = 1_000_000  # the limit for a Secret or ConfigMap is 1 MiB
_KEY = re.compile(r"[-._A-Za-z0-9]+")


class ConfigError(Exception):
    """The folder is invalid; `errors` lists every problem with advice."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


@dataclass
class Config:
    """The configuration: `objects` for Kubernetes, `values` for the chart, `notes` for the user."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(folder: Path, known: frozenset[str]) -> Config:
    """Read and check the folder; `known` are the variables in `.env.example`. Raises `ConfigError`."""
    errors: list[str] = []
    notes: list[str] = []
    if not folder.is_dir():
        raise ConfigError([f"{folder} is not a folder; it must contain .env and master-cv.md"])
    variables, refused = _read_env(folder / ".env", errors)
    launcher = {name: variables[name] for name in LAUNCHER_SECRETS if variables.get(name)}
    _check_secrets(launcher, refused, errors)
    _check_mongodb(variables, errors)
    not_for_runs = {"RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS", RUNS_URI, *CHART_VALUES, *SET_BY_CHART}
    pipeline = {name: value for name, value in variables.items() if value and name not in not_for_runs}
    if uri := variables.get(RUNS_URI):
        pipeline["MONGODB_URI"] = uri
    notes += [
        f".env: {name} is not a setting of Slipway; it is passed to runs{_nearest(name, known)}"
        for name in pipeline
        if name not in known
    ]
    notes += [_elsewhere(name) for name in SET_BY_CHART if variables.get(name)]
    if "your-app.vercel.app" in variables.get("CORS_ORIGINS", ""):
        notes.append(".env: CORS_ORIGINS is still the example; set it to your front end's origin, or leave it empty")
    credentials = _read_credentials(folder / "credentials", errors)
    _check_google(pipeline, credentials, errors)
    objects = [
        _secret(ENV_SECRET, {name: value.encode() for name, value in launcher.items()}),
        _secret(PIPELINE_SECRET, {name: value.encode() for name, value in pipeline.items()}),
        _secret(CREDENTIALS_SECRET, credentials),
        {**_named("ConfigMap", MASTER_CV), "data": {"master-cv.md": _read_master_cv(folder / "master-cv.md", errors)}},
    ]
    if (registry := folder / "registry.json").is_file():
        content = {".dockerconfigjson": _read_registry(registry, errors)}
        objects.append({**_secret(REGISTRY_SECRET, content), "type": "kubernetes.io/dockerconfigjson"})
    for each in objects:
        if len(json.dumps(each)) > MAX_OBJECT_BYTES:
            errors.append(f"{each['metadata']['name']} exceeds Kubernetes' limit of 1 MiB")
    values = _chart_values(variables, errors)
    if errors:
        raise ConfigError(errors)
    return Config(objects, values, notes)


def known_variables(example: str) -> frozenset[str]:
    """Return the variables in an `.env.example`, commented out or not."""
    return frozenset(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))


def _read_env(path: Path, errors: list[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the variables as launcher, operator and front end read them, and the names of invalid ones."""
    try:
        text = path.read_bytes().decode()
    except OSError:
        errors.append(f"{path} is missing; create it from .env.example")
        return {}, frozenset()
    except UnicodeDecodeError:
        errors.append(f"{path} is not UTF-8 text")
        return {}, frozenset()
    if "\r" in text:
        errors.append(f"{path} has Windows line endings. Remove them: sed -i 's/\\r$//' {path}")
        return {}, frozenset()
    found = read_env(text, str(path))
    rules = [name for name in RULES if found.values.get(name)]
    values, wrong = checked(found.values, rules)
    errors += [*(error for _, error in found.faults), *(f".env: {error}" for error in wrong)]
    refused = frozenset({name for name, _ in found.faults} | (set(rules) - values.keys()))
    return {name: values.get(name, value) for name, value in found.values.items() if name not in refused}, refused


def _nearest(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    return f". Did you mean {near[0]}?" if near else ""


def _check_secrets(launcher: dict[str, str], refused: frozenset[str], errors: list[str]) -> None:
    secret = launcher.get("RUNNER_API_SECRET")
    if secret is None and "RUNNER_API_SECRET" not in refused:
        errors.append(f".env: RUNNER_API_SECRET is not set; {MAKE_ONE}")
    for name in ("RUNNER_API_SECRET", "RUNNER_API_SECRET_PREVIOUS"):
        try:
            if value := launcher.get(name):
                strong_secret(name, value)
        except Unusable as exc:
            errors.append(f".env: {exc}")
    if secret and secret == launcher.get("RUNNER_API_SECRET_PREVIOUS"):
        errors.append(".env: RUNNER_API_SECRET_PREVIOUS equals RUNNER_API_SECRET; it must be the old secret")


def _check_mongodb(variables: dict[str, str], errors: list[str]) -> None:
    for name in ("MONGODB_URI", RUNS_URI):
        if re.search(r"[/@,](localhost|127\.0\.0\.1|\[::1\])(?=[:/,?]|$)", variables.get(name, "")):
            errors.append(f".env: {name} points to localhost, which in a pod is the pod itself")


def _check_google(pipeline: dict[str, str], credentials: dict[str, bytes], errors: list[str]) -> None:
    path = pipeline.get("GOOGLE_APPLICATION_CREDENTIALS")
    if path is None:
        return
    folder, _, name = path.rpartition("/")
    if folder != CREDENTIALS_FOLDER:
        errors.append(f".env: GOOGLE_APPLICATION_CREDENTIALS must be in {CREDENTIALS_FOLDER}, where runs find it")
    elif name not in credentials:
        errors.append(f".env: GOOGLE_APPLICATION_CREDENTIALS points to {name}, which is not in credentials/")


def _read_credentials(folder: Path, errors: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):
            continue
        if not path.is_file():
            errors.append(f"{path} is not a file; credentials/ cannot contain folders")
        elif not _KEY.fullmatch(path.name):
            errors.append(f"{path}: the name can only contain letters, digits, '-', '_' and '.'")
        else:
            found[path.name] = path.read_bytes()
    return found


def _read_master_cv(path: Path, errors: list[str]) -> str:
    try:
        text = path.read_bytes().decode()
    except OSError:
        errors.append(f"{path} is missing; the bundled pipeline needs it")
        return ""
    except UnicodeDecodeError:
        errors.append(f"{path} is not UTF-8 text")
        return ""
    if not text.strip():
        errors.append(f"{path} is empty; the bundled pipeline needs it")
    return text


def _read_registry(path: Path, errors: list[str]) -> bytes:
    content = path.read_bytes()
    try:
        valid = isinstance(json.loads(content)["auths"], dict)
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        errors.append(f'{path} must be a Docker configuration: {{"auths": {{"ghcr.io": {{"auth": "…"}}}}}}')
    return content


def _chart_values(variables: dict[str, str], errors: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, path in CHART_VALUES.items():
        if not (text := variables.get(name, "")):
            continue
        value: Any = text
        try:
            if name == "CORS_ORIGINS":
                value = text.split(",")
            elif name == "RETENTION_DAYS":
                value = float(text)
            elif name.endswith(("_BYTES", "_STORAGE")):
                pass  # kept as text, because helm rounds large numbers
            elif number(name, text):
                value = int(text)
        except Unusable as exc:
            errors.append(f".env: {exc}")
        group, key = path.split(".")
        values.setdefault(group, {})[key] = value
    if url := variables.get("REDIS_URL"):  # for the network policies, with install.sh --redis external
        values["redis"] = {"externalPort": urlsplit(url).port or 6379}
    return values


def _elsewhere(name: str) -> str:
    if name == "REDIS_URL":
        return ".env: REDIS_URL is used only with install.sh --redis external; by default, the chart installs a Redis"
    return f".env: {name} is ignored, because the chart sets it"


def _named(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": dict(LABELS)}}


def _secret(name: str, content: dict[str, bytes]) -> dict[str, Any]:
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {**_named("Secret", name), "type": "Opaque", "data": data}
