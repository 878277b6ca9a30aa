"""Runs the probes' Jobs in the cluster through kubectl, and deletes them whatever happens."""

from __future__ import annotations

import calendar
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from launcher.cli.kubectl import ERRORS, items, kubectl

_LAUNCHER = "--selector=app.kubernetes.io/name=slipway-launcher"
_POLL_SECONDS = 0.3
_START_SECONDS = 60
T = TypeVar("T")


class ProbeFailed(Exception):
    """A probe could not be run; the message says why."""


class Created(NamedTuple):
    """A Job that was created. The API server's clock is ahead of this machine's by a time in `clock_ahead`."""

    uid: str
    clock_ahead: tuple[float, float]


def make_probes(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Let the launcher in the cluster make the Jobs, from its own settings and with its own image."""
    pods = [pod for pod in items("pods", _LAUNCHER) if _ready(pod)]
    if not pods:
        raise ProbeFailed("no pod of slipway-launcher is ready")
    pod = max(pods, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    command = ("python", "-m", "launcher.cluster.probe", pod["spec"]["containers"][0]["image"], json.dumps(plan))
    made: dict[str, Any] = json.loads(kubectl("exec", pod["metadata"]["name"], "--container=launcher", "--", *command))
    return made


def run_network_probe(job: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], Created]:
    """Run the network probe; return its result. It keeps trying for `seconds`."""
    with _running(job) as created:
        pod = _wait(created, _finished, _START_SECONDS + seconds)
        result: dict[str, Any] = json.loads(kubectl("logs", pod["metadata"]["name"]))
        return result, created


def run_pull_probe(job: Mapping[str, Any], seconds: float) -> dict[str, Mapping[str, Any]]:
    """Pull the images; return the state of each container by its name."""
    with _running(job) as created:
        return _wait(created, _pulled, seconds)


@contextmanager
def _running(job: Mapping[str, Any]) -> Iterator[Created]:
    """Create a Job, and delete it at the end."""
    name = job["metadata"]["name"]
    kubectl("delete", "job", name, "--ignore-not-found")  # what an interrupted probe left behind
    try:
        before = time.time()
        made = json.loads(kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(job)))["metadata"]
        after = time.time()
        stamp = calendar.timegm(time.strptime(made["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))  # whole seconds
        yield Created(made["uid"], (stamp - after, stamp + 1 - before))
    finally:
        with contextlib.suppress(*ERRORS):
            kubectl("delete", "job", name, "--ignore-not-found", "--wait=false")


def _wait(created: Created, look: Callable[[dict[str, Any]], T | None], seconds: float) -> T:
    end = time.monotonic() + seconds
    while True:
        pods = items("pods", f"--selector=batch.kubernetes.io/controller-uid={created.uid}")
        if pods and (found := look(pods[0])) is not None:
            return found
        if time.monotonic() > end:
            raise ProbeFailed(f"its pod did not finish within {seconds:.0f} s: {_why(pods)}")
        time.sleep(_POLL_SECONDS)


def _why(pods: list[dict[str, Any]]) -> str:
    if not pods:
        return "Kubernetes created none"
    waiting = [each.get("waiting") or {} for each in _states(pods[0]).values()]
    conditions = [each for each in pods[0]["status"].get("conditions", []) if each["status"] != "True"]
    texts = [str(each.get("message") or each.get("reason")) for each in (*waiting, *conditions) if each.get("reason")]
    return texts[0][:300] if texts else str(pods[0]["status"].get("phase"))


def _ready(pod: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _finished(pod: dict[str, Any]) -> dict[str, Any] | None:
    phase = pod["status"].get("phase")
    if phase == "Failed":
        raise ProbeFailed("its program failed")
    return pod if phase == "Succeeded" else None


def _pulled(pod: dict[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """Return the containers' states once no image is being pulled. The first failure of a pull may be temporary."""
    states = _states(pod)
    pending = {"ContainerCreating", "PodInitializing", "ErrImagePull"}
    undecided = any((each.get("waiting") or {}).get("reason") in pending for each in states.values())
    return None if undecided or not states else states


def _states(pod: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["name"]: each.get("state") or {} for each in pod["status"].get("containerStatuses", [])}
