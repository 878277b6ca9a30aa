"""`slipway doctor` checks a real cluster and reports what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cluster.cluster import Cluster
from launching.installation import Installation
from launching.service_process import INHERITED, ROOT

KUBECTL = """#!/bin/sh
exec {command} "$@"
"""


def doctor(installation: Installation, tmp_path: Path, **environ: str) -> dict[str, Any]:
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "kubectl").write_text(KUBECTL.format(command=" ".join(map(str, installation.cluster.kubectl_command))))
    (tools / "kubectl").chmod(0o755)
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "RUNNER_URL": installation.launcher.url,
        "RUNNER_API_SECRET": installation.launcher.secret,
        "KUBECONFIG": str(installation.cluster.kubeconfig),
        "KUBE_NAMESPACE": installation.namespace,
    }
    done = subprocess.run(
        [sys.executable, "-m", "launcher.cli.main", "doctor", "--json"],
        cwd=ROOT,
        env=environment | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return {each["check"]: each for each in json.loads(done.stdout)["checks"]}


def test_doctor_reports_what_is_present_and_what_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    with Installation(cluster, tmp_path / "slipway") as installation:
        checks = doctor(installation, tmp_path)
        assert {checks[name]["state"] for name in ("cluster", "engine", "quota", "rights", "pods")} == {"ok"}, checks
        assert checks["quota"]["found"].endswith("of 3 pods for runs in use")
        assert "node" in checks
        assert checks["slipway-operator"]["state"] == "warn"  # here the operator is a process outside the cluster
        assert checks["claim"]["state"] == "ok"
        missing = doctor(installation, tmp_path, DATA_CLAIM="nowhere")
        assert missing["claim"]["state"] == "fail"
        (tmp_path / "broken").write_text("no kubeconfig")
        assert doctor(installation, tmp_path, KUBECONFIG=str(tmp_path / "broken"))["cluster"]["state"] == "fail"
