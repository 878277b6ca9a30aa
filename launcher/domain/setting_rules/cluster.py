"""Values for Kubernetes: names of objects, images, quantities."""

from __future__ import annotations

import re

from .texts import Unusable, plain

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_NAMESPACE = re.compile(rf"(?=.{{1,63}}\Z){_LABEL}")
_QUANTITY = re.compile(r"[1-9][0-9]{0,14}(\.[0-9]{1,9})?(k|Ki|M|Mi|G|Gi|T|Ti)?")
_RULE = "lower-case letters, digits, '-'"
_PART = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    r"((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:[0-9]+/))(:[0-9]{1,5})?/)?"
    rf"{_PART}(/{_PART})*(:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
)
"""https://github.com/distribution/reference/blob/main/reference.go has the grammar."""


def quantity(name: str, value: str) -> str:
    """Return a quantity of memory or disk."""
    plain(name, value)
    if not _QUANTITY.fullmatch(value):
        raise Unusable(f"{name} is not a valid quantity, for example 2Gi or 500M")
    return value


def kubernetes_name(name: str, value: str) -> str:
    """Return the name of a Secret, a ConfigMap or a PersistentVolumeClaim."""
    plain(name, value)
    if not _NAME.fullmatch(value):
        raise Unusable(f"{name} is not a valid Kubernetes name: use at most 253 characters of {_RULE} and '.'")
    return value


def kubernetes_names(name: str, value: str) -> str:
    """Return a comma-separated list of names."""
    plain(name, value)
    return ",".join(kubernetes_name(name, each) for part in value.split(",") if (each := part.strip()))


def kubernetes_namespace(name: str, value: str) -> str:
    """Return the name of a namespace."""
    plain(name, value)
    if not _NAMESPACE.fullmatch(value):
        raise Unusable(f"{name} is not a valid namespace: use at most 63 characters of {_RULE}")
    return value


def image(name: str, value: str) -> str:
    """Return an image reference."""
    plain(name, value)
    if not _IMAGE.fullmatch(value):
        raise Unusable(
            f"{name} is not a valid image, for example ghcr.io/owner/pipeline:tag: lower case before the tag, no spaces"
        )
    return value
