"""What an uninstall does last, in a pod: it deletes all runs, waits a while for their pods, and says what is left."""

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


def ask(method: str, group: str, objects: str) -> Any:
    """Call the Kubernetes API about objects of this namespace; None: there is no such object."""
    url = f"{server}/{group}/namespaces/{namespace}/{objects}"
    try:
        request = urllib.request.Request(url, method=method, headers=bearer)  # noqa: S310 - https, as above
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


found = ask("GET", "apis/apps/v1", f"deployments/{operator}")
if found and "deletionTimestamp" not in found["metadata"]:
    sys.exit(f"{operator} is installed in {namespace}: this is for helm uninstall alone, and nothing was deleted.")
ask("DELETE", "apis/batch/v1", f"jobs{runs}")
end = time.monotonic() + WAIT_SECONDS
while (pods := ask("GET", "api/v1", f"pods{runs}")["items"]) and time.monotonic() < end:
    time.sleep(0.5)
print("Slipway is uninstalled, its runs are deleted.")
if pods:
    print("Still ending:", ", ".join(pod["metadata"]["name"] for pod in pods))
print("Left is the volume with archives and artifacts. To delete it for good:\n")
print(f"  kubectl --namespace {namespace} delete persistentvolumeclaim {claim}")
