"""The post-delete hook, which runs in a pod: deletes all runs, waits for their pods, and says what is left."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

WAIT_SECONDS = 60
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
namespace, operator, claim = sys.argv[1:]
trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
server = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format(**os.environ)
bearer = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
runs = "?labelSelector=slipway.dev/run&propagationPolicy=Background"


def call(method: str, group: str, objects: str) -> Any:
    """Call the Kubernetes API for objects in this namespace; None if the object does not exist."""
    url = f"{server}/{group}/namespaces/{namespace}/{objects}"
    try:
        request = urllib.request.Request(url, method=method, headers=bearer)  # noqa: S310 - always https
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


found = call("GET", "apis/apps/v1", f"deployments/{operator}")
if found and "deletionTimestamp" not in found["metadata"]:
    sys.exit(f"{operator} is installed in {namespace}. This script is only for helm uninstall; nothing was deleted.")
call("DELETE", "apis/batch/v1", f"jobs{runs}")
end = time.monotonic() + WAIT_SECONDS
while (pods := call("GET", "api/v1", f"pods{runs}")["items"]) and time.monotonic() < end:
    time.sleep(0.5)
print("Slipway is uninstalled and its runs are deleted.")
if pods:
    print("Still terminating:", ", ".join(pod["metadata"]["name"] for pod in pods))
print("The volume with archives and artifacts is kept. To delete it permanently:\n")
print(f"  kubectl --namespace {namespace} delete persistentvolumeclaim {claim}")
