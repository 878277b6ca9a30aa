#!/usr/bin/env python3
"""Verifies an installation: starts probes that try what a run can reach and which images can be pulled, and checks the
host name's DNS records and certificate, and the clocks.

    verify.py [--host NAME] [--no-certificate]

    --host NAME          the public host name, if it is not that of the Ingress or of the existing Traefik's route
    --no-certificate     do not check its certificate, because Traefik does not read that route yet

It prints what `slipway doctor --cluster` prints, and needs only Python and kubectl. The namespace is $NAMESPACE
(default: slipway). The exit code is 1 if something is broken. Runs that are not isolated are a warning.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the launcher's checks in this checkout
from launcher.cli.installation_checks import examine_installation
from launcher.cli.network_checks import isolation_fails

WARNING = """
  WARNING: runs are not isolated. What a run executes, including whatever a web page makes it execute, can reach the
  addresses that are marked `open` above. Do not process input that you do not trust until this is fixed.
"""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="", metavar="NAME", help="the public host name")
    parser.add_argument("--no-certificate", action="store_true", help="do not check its certificate")
    options = parser.parse_args()
    os.environ["KUBE_NAMESPACE"] = os.environ.get("NAMESPACE") or "slipway"
    findings = examine_installation(options.host, certificate=not options.no_certificate)
    for text in (line for each in findings for line in each.lines()):
        print(f"  {text}", flush=True)  # before the warning
    failed = [each for each in findings if each.state == "fail"]
    exposed = [each for each in failed if isolation_fails(each)]
    if exposed:
        print(WARNING, file=sys.stderr)
    return 1 if len(failed) > len(exposed) else 0


if __name__ == "__main__":
    sys.exit(main())
