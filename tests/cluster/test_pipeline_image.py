"""The pipeline's image as a Job under *restricted*, with Chromium, a web site and a model server in the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from httpx_sse import connect_sse

from cluster.cluster import PIPELINE_IMAGE, TESTS_IMAGE, Cluster
from cluster.runs import until
from launching.installation import Installation
from launching.service_process import ROOT
from pipeline_runner.company_research import READ_ON
from pipeline_runner.page_reading import READ_FROM
from servers import model_server
from servers.hostile_site import POSTING
from servers.model_server import INVENTED, KEY

PORT = 8080
SITE = f"""
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hangs":
            print("hanging", flush=True)
            time.sleep(600)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write({f"<title>Job</title>{POSTING}"!r}.encode())
http.server.ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""
# Runs in the pod: reports which processes of its user reveal their environment, and whether a key is in it.
INSPECT = f"""
import os, pathlib
for each in pathlib.Path("/proc").glob("[0-9]*"):
    if int(each.name) == os.getpid():
        continue
    command = (each / "cmdline").read_bytes().decode().replace("\\0", " ")
    try:
        shown = "key" if {KEY.encode()!r} in (each / "environ").read_bytes() else "clean"
    except PermissionError:
        shown = "hidden"
    print(shown, each.name, command)
"""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    """Slipway with the pipeline's image, a web site in its namespace, and postings that link to it."""
    redis_server.revive()
    with Installation(
        cluster,
        tmp_path_factory.mktemp("slipway"),
        REDIS_URL=redis_server.url,
        PIPELINE_IMAGE=PIPELINE_IMAGE,
        PIPELINE_SECRET="pipeline",
        MASTER_CV_CONFIGMAP="master-cv",
        CREDENTIALS_SECRET="postings",
        TERMINATION_GRACE_SECONDS="10",
    ) as running:
        _serve(running, "site", SITE)
        model = Path(model_server.__file__).read_text()
        _serve(running, "model", model, "--port", str(PORT), "429", "prose", "hostile")
        _configure(running)
        yield running


def _serve(installation: Installation, name: str, program: str, *arguments: str) -> None:
    """Run a program in a pod behind a Service of this name."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": TESTS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", program, *arguments],
        "securityContext": RESTRICTED,
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    service = {"selector": labels, "ports": [{"port": PORT}]}
    _apply(
        installation,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [container]},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    )
    installation.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def _configure(installation: Installation) -> None:
    address = installation.json("get", "service", "site")["spec"]["clusterIP"]
    fields = {"title": "Harbour Engineer", "company": "Hafenwerk", "description": "The stored text."}
    pages = {"page": f"http://site:{PORT}/posting", "hangs": f"http://site:{PORT}/hangs"}
    pages["metadata"] = "http://169.254.169.254/latest/meta-data"
    postings = {f"{name}.json": json.dumps({**fields, "url": url}) for name, url in pages.items()}
    postings["page.json"] = json.dumps({**fields, "url": pages["page"], "companyUrl": f"http://site:{PORT}/"})
    environment = {
        "BROWSER_ALLOWED_NETWORKS": address,
        "POSTINGS_DIR": "/app/credentials",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"http://model:{PORT}/v1",
    }
    master_cv = (ROOT / "pipeline-image/samples/master-cv.md").read_text()
    _apply(
        installation,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pipeline"}, "stringData": environment},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "postings"}, "stringData": postings},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "master-cv"},
            "data": {"master-cv.md": master_cv},
        },
    )


def _apply(installation: Installation, *objects: dict[str, Any]) -> None:
    installation.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))


def test_pipeline_reads_a_page_with_chromium_and_writes_four_artifacts(installation: Installation) -> None:
    launcher = installation.launcher
    run_id = launcher.run("page")["run_id"]
    with connect_sse(launcher.client, "GET", f"/jobs/{run_id}/logs", timeout=180) as stream:
        events = [(event.event, event.data) for event in stream.iter_sse()]
    lines = [data for name, data in events if name == "message" and data]
    run = json.loads(events[-1][1])
    assert (run["status"], run["exit_code"], run["log"]["complete"]) == ("completed", 0, True), lines
    assert any(f"done: {READ_FROM} http://site:{PORT}/posting." in line for line in lines), "\n".join(lines)
    assert any(f"done: {READ_ON} http://site:{PORT}/ (" in line for line in lines), "\n".join(lines)
    steps = [json.loads(data) for name, data in events if name == "progress"]
    assert [step["step"] for step in steps] == [*range(1, steps[-1]["of"] + 1)]
    assert {"Reading the posting's page", "Researching the company"} <= {step["label"] for step in steps}
    assert set(run["artifacts"]) == {"cv_md_url", "cv_docx_url", "cover_letter_url", "dossier_url"}
    assert "Kubernetes" in launcher.client.get(run["artifacts"]["dossier_url"]).text
    assert any(line.startswith("Model ") and "tokens" in line for line in lines), "\n".join(lines)
    assert any(line.startswith("Not traced to the master CV and left out: ") for line in lines), "\n".join(lines)
    for key in ("cv_md_url", "cover_letter_url"):
        text = launcher.client.get(run["artifacts"][key]).text
        assert len(text) > 200
        assert [invented for invented in INVENTED if invented in text] == []
    assert not any(KEY in line for line in lines)


def test_private_address_is_refused_and_the_run_continues(installation: Installation) -> None:
    run = installation.launcher.wait(installation.launcher.run("metadata")["run_id"], seconds=180)
    log = installation.launcher.log(run["run_id"]).decode()
    assert run["status"] == "completed", log
    assert "169.254.169.254:80 is not on the public web" in log


def test_missing_posting_has_its_own_reason(installation: Installation) -> None:
    run = installation.launcher.wait(installation.launcher.run("no-such-posting")["run_id"], seconds=60)
    assert (run["status"], run["reason"], run["exit_code"]) == ("failed", "PostingNotFound", 3)


def test_run_with_a_hanging_page_reveals_no_key_and_can_be_cancelled(installation: Installation) -> None:
    run_id = installation.launcher.run("hangs")["run_id"]
    until(lambda: "hanging" in installation.kubectl("logs", "site"), seconds=120)
    target = (f"--namespace={installation.namespace}", f"job/{run_id}")
    shown = installation.cluster.kubectl("exec", *target, "--", "python3", "-c", INSPECT).splitlines()
    init = next(line for line in shown if line.split()[1] == "1")
    assert init.startswith("hidden 1 tini -- python scripts/run_pipeline.py"), shown
    assert [line for line in shown if "run_pipeline" in line and not line.startswith("hidden")] == [], shown
    assert [line for line in shown if line.startswith("key")] == []
    assert any("--type=renderer" in line for line in shown)
    installation.launcher.client.delete(f"/jobs/{run_id}").raise_for_status()
    run = installation.launcher.wait(run_id, seconds=60)
    assert (run["status"], run["exit_code"]) == ("cancelled", 143)
    assert "Stopped by SIGTERM." in installation.launcher.log(run_id).decode()
