"""The Jobs with which `slipway doctor --cluster` tries what a run can reach, and which images can be pulled.

The doctor has no settings of the launcher, so it calls this in the launcher's pod and creates what this prints:
`python -m launcher.cluster.probe IMAGE PLAN`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from launcher.cluster import labels
from launcher.cluster.manifests import make_job
from launcher.cluster.port import Manifest
from launcher.domain.pipelines import Pipeline
from launcher.domain.runs import Run, now
from launcher.settings import SharedSettings

PROBE = "slipway-probe"
PULL = "slipway-pull-probe"
_DEADLINE_SECONDS = 300
_TTL_SECONDS = 60
_REDIS_PORT = 6379
_NODE_PORTS = (22, 80, 443, 6443, 10250)
_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
_DATA = {"data", "master-cv", "credentials"}
"""The volumes of a run that a probe leaves out: it needs nothing from them, and leaves nothing on them."""


def probes(settings: SharedSettings, image: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return both Jobs, and what each image is for. `image` is the launcher's own; `plan` is the network probe's."""
    images = _images(settings, image)
    return {
        "network": _network_job(
            settings, image, {**plan, "forbidden": _forbidden(settings), "node_ports": _NODE_PORTS}
        ),
        "pull": _pull_job(settings, list(images)),
        "images": images,
    }


def _network_job(settings: SharedSettings, image: str, plan: Mapping[str, Any]) -> Manifest:
    job = _job(PROBE, settings)
    [container] = job["spec"]["template"]["spec"]["containers"]
    container |= {
        "image": image,
        "args": ["python", "-m", "launcher.cluster.network_probe", json.dumps(plan)],
        "env": [{"name": "NODE_ADDRESSES", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}}],
    }
    return job


def _pull_job(settings: SharedSettings, images: Sequence[str]) -> Manifest:
    """Return a Job with two containers per image: `have-N` uses what is on the node, `pull-N` asks the registry."""
    job = _job(PULL, settings)
    del job["spec"]["template"]["metadata"]["labels"][labels.RUN]  # it tries nothing that depends on policies
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    del container["args"]
    pod["containers"] = [
        {
            **container,
            "name": f"{name}-{number}",
            "image": image,
            "imagePullPolicy": policy,
            "command": ["true"],  # an image need not have it: what counts is that the container was created
        }
        for name, policy in (("have", "Never"), ("pull", "Always"))
        for number, image in enumerate(images)
    ]
    return job


def _job(name: str, settings: SharedSettings) -> Manifest:
    """Return a run's Job that is not a run, and leaves nothing behind.

    Its pod has a run's labels, account and user, so that the network policies of runs apply to it. The Job itself has
    another label. The pod has no deadline, so it does not count against the quota, and a full queue does not keep it
    waiting. The Job has a deadline and a TTL, in case nobody deletes it.
    """
    run = Run(run_id=name, job_id=name, created_at=now(), updated_at=now())
    job = make_job(run, Pipeline(), settings)
    job["metadata"] = {"name": name, "labels": {"app.kubernetes.io/part-of": "slipway", labels.PROBE: "true"}}
    job["spec"] |= {
        "suspend": False,  # a suspended Job has neither a deadline nor a TTL
        "activeDeadlineSeconds": _DEADLINE_SECONDS,
        "ttlSecondsAfterFinished": _TTL_SECONDS,
    }
    job["spec"]["template"]["metadata"]["labels"][labels.PROBE] = "true"
    pod = job["spec"]["template"]["spec"]
    del pod["activeDeadlineSeconds"]
    pod["terminationGracePeriodSeconds"] = 1
    pod["volumes"] = [each for each in pod["volumes"] if each["name"] not in _DATA]
    [container] = pod["containers"]
    container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] not in _DATA]
    container["resources"] = _RESOURCES
    for name in ("env", "envFrom"):
        container.pop(name, None)
    return job


def _forbidden(settings: SharedSettings) -> dict[str, list[str]]:
    """Return the addresses that a run must not reach, by name. The probe adds the API server's and the node's."""
    found = {"launcher": ["slipway-launcher:80"], "metadata address": ["169.254.169.254:80"]}
    if settings.REDIS_URL:
        redis = urlsplit(settings.REDIS_URL)
        found["Redis"] = [f"{redis.hostname}:{redis.port or _REDIS_PORT}"]
    return found


def _images(settings: SharedSettings, image: str) -> dict[str, list[str]]:
    found = {image: ["launcher"]}
    for name, pipeline in settings.pipelines.items():
        found.setdefault(pipeline.image or settings.PIPELINE_IMAGE, []).append(f"pipeline {name}")
    return found


def main() -> None:
    """Print the Jobs for the launcher's image and the plan in the arguments."""
    image, plan = sys.argv[1:]
    print(json.dumps(probes(SharedSettings.from_environment(os.environ), image, json.loads(plan))))


if __name__ == "__main__":
    main()
