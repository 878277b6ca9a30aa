"""The scripts of k8s/, run as on a server: kubectl and helm on the PATH, in their own namespace."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

from cluster.cluster import TESTS_IMAGE, Cluster
from cluster.namespace import InNamespace
from launching.chart import helm
from launching.service_process import ROOT

SCRIPTS = ROOT / "k8s"
SECONDS = 420
REPLACING = ("install.sh", "config.py", "rollback.sh")
IMAGES = ("--set", "image.repository=localhost/slipway", "--set", "pipelineImage.repository=localhost/slipway-pipeline")
CLUSTER = ("--set", f"redis.image={TESTS_IMAGE}", "--set", "data.storage=1Gi", "--set", "data.storageClass=local-path")


class Server(InNamespace):
    """A server for the scripts: a namespace, a configuration folder, and the programs that they call."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.namespace = f"server-{secrets.token_hex(4)}"
        self.secret = secrets.token_hex(32)
        self.kubeconfig = cluster.kubeconfig
        self.variables: dict[str, str] = {}
        self.config = directory / "config"
        (self.config / "credentials").mkdir(parents=True)
        (self.config / "credentials/service-account.json").write_text('{"made": "for a test"}')
        (self.config / "master-cv.md").write_text((ROOT / "pipeline-image/samples/master-cv.md").read_text())
        self.write_env()
        self._programs = directory / "bin"
        self._programs.mkdir()
        self.program("kubectl", f'exec {" ".join(map(str, cluster.kubectl_command))} "$@"')
        (self._programs / "helm").symlink_to(helm())

    def program(self, name: str, script: str) -> None:
        """Create or replace a program that the scripts call."""
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def write_env(self, **more: str) -> None:
        """Write `.env` with the secret, a variable for runs, and more."""
        variables = {"RUNNER_API_SECRET": self.secret, "FIRECRAWL_API_URL": "http://firecrawl.example", **more}
        (self.config / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate a client."""
        return {"Authorization": f"Bearer {self.secret}"}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the scripts."""
        own = {name: value for name, value in os.environ.items() if name not in ("RUNNER_URL", "RUNNER_API_SECRET")}
        path = f"{self._programs}:{own['PATH']}"
        return {**own, "PATH": path, "KUBECONFIG": str(self.kubeconfig), "NAMESPACE": self.namespace, **self.variables}

    def command(self, script: str, *args: str) -> list[str]:
        """Return a script's command line."""
        return [str(SCRIPTS / script), *args]

    def run(self, script: str, *args: str, fails: bool = False) -> str:
        """Run a script and return its output."""
        done = subprocess.run(
            self.command(script, *args), capture_output=True, text=True, env=self.environment, timeout=SECONDS
        )
        assert (done.returncode != 0) == fails, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        if script in REPLACING and not fails:
            self.cluster.wait_for_rollout("slipway-launcher", self.namespace)  # `slipway` may use any existing pod
        return done.stdout + done.stderr

    def install(self, *args: str, verify: bool = False, fails: bool = False) -> str:
        """Install with this machine's images and further arguments. Verifying it takes some seconds."""
        unverified = () if verify else ("--no-verify",)
        return self.run("install.sh", "--image-tag", "test", *unverified, *IMAGES, *CLUSTER, *args, fails=fails)

    def slipway(self, *args: str, secret: str | None = None, fails: bool = False) -> str:
        """Run `slipway` in the launcher's pod, with its own or another secret."""
        with_secret = [] if secret is None else ["env", f"RUNNER_API_SECRET={secret}"]
        command = [
            "kubectl",
            f"--namespace={self.namespace}",
            "exec",
            "deployment/slipway-launcher",
            "--",
            *with_secret,
        ]
        done = subprocess.run(
            [*command, "slipway", *args], capture_output=True, text=True, env=self.environment, timeout=120
        )
        assert (done.returncode != 0) == fails, f"slipway {args}: {done.stdout}{done.stderr}"
        return done.stdout

    def versions(self) -> dict[str, str]:
        """Return the resource version of each object made from the configuration folder."""
        items = self.json("get", "secrets,configmaps", "--selector=slipway.dev/config")["items"]
        return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in items}

    def remove(self) -> None:
        """Remove everything from the cluster."""
        subprocess.run(
            ["helm", f"--namespace={self.namespace}", "uninstall", "slipway", "--ignore-not-found"],
            env=self.environment, capture_output=True, timeout=SECONDS,
        )  # fmt: skip
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")
