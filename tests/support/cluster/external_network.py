"""What is beyond the node: the internet, a metadata service, a private network, in a network namespace of their own.

The namespace and its link to the node exist as long as the program that runs there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.cluster import wait_until

LINK, PEER_LINK = "external0", "eth0"
START_SECONDS = 10.0


@contextmanager
def external_network(node: int, public: str, addresses: Sequence[str], command: Sequence[str | Path]) -> Iterator[None]:
    """Run a command in a namespace with these addresses, and give the node a public address and routes to them.

    `node` is a process in the node's namespaces. The first of the addresses is the source of outgoing connections.
    """
    with subprocess.Popen(["unshare", "--net", *command]) as process:
        try:
            there = process.pid
            wait_until(lambda: _namespace(there) != _namespace(os.getpid()), START_SECONDS, "the network namespace")
            _ip(None, f"link add {LINK} netns {node} type veth peer name {PEER_LINK} netns {there}")
            _ip(
                there,
                "link set lo up",
                *(f"addr add {address}/32 dev {PEER_LINK}" for address in addresses),
                f"link set {PEER_LINK} up",
                f"route add {public} dev {PEER_LINK}",
                f"route add default via {public}",
            )
            _ip(
                node,
                f"addr add {public}/32 dev {LINK}",
                f"link set {LINK} up",
                *(f"route add {address} dev {LINK}" for address in addresses),
            )
            yield
        finally:
            process.kill()


def _namespace(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/net").readlink())


def _ip(process: int | None, *commands: str) -> None:
    """Run `ip` commands in a process's network namespace."""
    within = [] if process is None else ["nsenter", f"--target={process}", "--net"]
    subprocess.run([*within, "ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)
