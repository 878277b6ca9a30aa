"""Simulates network policies with cyclonus: which connections they allow, without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .conftest import run


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An address; a pod also has labels and a namespace."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return it in cyclonus' format."""
        if self.namespace is None:
            return {"IP": self.address}
        names = {"kubernetes.io/metadata.name": self.namespace}  # every namespace has its name as a label
        pod = {"Namespace": self.namespace, "NamespaceLabels": names, "PodLabels": dict(self.labels)}
        return {"IP": self.address, "Internal": pod}


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
            "Source": each.source.described(),
            "Destination": each.destination.described(),
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
