"""The doctor's reading of the pull probe: which images can be pulled. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher.cli.findings import Finding

_NOT_PULLED = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable")
_DO = "Check that the tag is in the registry and, for a private package, that registry.json grants access"


def image_findings(images: Mapping[str, Sequence[str]], states: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield a finding for each image. `images` says what each is for; `states` has the containers of the pull probe."""
    for number, (image, users) in enumerate(images.items()):
        check = f"image of {', '.join(users)}"
        why = _failure(states.get(f"pull-{number}", {}))
        if why is None:
            yield Finding(check, "ok", f"{image} can be pulled")
        elif _failure(states.get(f"have-{number}", {})) is None:
            do = f"{_DO}: Kubernetes may delete the image from the node when the disk fills up."
            yield Finding(check, "warn", f"{image} is on the node, but cannot be pulled: {why}", do)
        else:
            yield Finding(check, "fail", f"{image} cannot be pulled: {why}", f"{_DO}. Until then, it does not start.")


def _failure(state: Mapping[str, Any]) -> str | None:
    """Return why a container has no image; None if it has one."""
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason")
    return str(waiting.get("message") or reason)[:300] if reason in _NOT_PULLED else None
