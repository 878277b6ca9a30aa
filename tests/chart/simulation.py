"""Simulates network policies with cyclonus: which connections they allow, without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.reachability import Peer

from .conftest import run


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """A connection attempt."""

    source: Peer
    destination: Peer
    port: int
    protocol: str = "TCP"


def allowed(
    cyclonus: Path, policies: Sequence[Mapping[str, Any]], traffics: Sequence[Traffic], folder: Path
) -> list[bool]:
    """Return whether the policies allow each connection. `folder` is an empty working folder."""
    (folder / "policies").mkdir()
    for number, policy in enumerate(policies):
        (folder / f"policies/{number}.yaml").write_text(yaml.safe_dump(policy))
    described = [
        {
            "Source": _described(each.source),
            "Destination": _described(each.destination),
            "ResolvedPort": each.port,
            "Protocol": each.protocol,
        }
        for each in traffics
    ]
    (folder / "traffic.json").write_text(json.dumps(described))
    words = [
        "analyze",
        "--mode=query-traffic",
        f"--policy-path={folder}/policies",
        f"--traffic-path={folder}/traffic.json",
    ]
    done = run(cyclonus, *words)
    answers = re.findall(r"^\| IS ALLOWED\? \| +(TRUE|FALSE) ", done.stdout, re.MULTILINE)
    assert done.returncode == 0 and len(answers) == len(traffics), done.stderr or done.stdout
    return [answer == "TRUE" for answer in answers]


def _described(peer: Peer) -> dict[str, Any]:
    """Return a peer in cyclonus' format."""
    if peer.namespace is None:
        return {"IP": peer.address}
    names = {"kubernetes.io/metadata.name": peer.namespace}  # every namespace has its name as a label
    pod = {"Namespace": peer.namespace, "NamespaceLabels": names, "PodLabels": dict(peer.labels)}
    return {"IP": peer.address, "Internal": pod}
