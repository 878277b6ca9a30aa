"""The programs of a server that the scripts of k8s/ call, behaving like those of k3s.

`fake_k3s.py PROGRAM ARGUMENT…` runs in the environment of a `FreshServer`. docs/explanation/k3s.md says where
in k3s's source this behaviour was read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT, STATE = Path(os.environ["BOOTSTRAP_ROOT"]), Path(os.environ["FAKE_K3S"])
ETC, DATA = ROOT / "etc/rancher/k3s", ROOT / "var/lib/rancher/k3s"
BINARIES, UNIT = ROOT / "usr/local/bin", ROOT / "etc/systemd/system/k3s.service"
MISSING_KIND = (
    'error: resource mapping not found for name: "traefik" namespace: "kube-system": '
    'no matches for kind "HelmChartConfig" in version "helm.cattle.io/v1"\nensure CRDs are installed first'
)
SHIM = '#!/bin/sh\n# {what}\nexec {python} {me} {program} {version} "$(basename "$0")" "$@"\n'


def read(name: str) -> dict[str, Any]:
    """Return a JSON file of the state: `server`, what happened, or `options`, what a test has set."""
    path = STATE / name
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(server: dict[str, Any]) -> None:
    """Store what happened."""
    (STATE / "server").write_text(json.dumps(server))


def record(*words: str) -> None:
    """Append a call to the list that tests read."""
    with (STATE / "calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")


def shim(program: str, version: str) -> str:
    """Return a shell script that calls this file as `program`."""
    return SHIM.format(
        what=f"{program} {version}", python=sys.executable, me=__file__, program=program, version=version
    )


def countdown(name: str) -> bool:
    """Whether something that needs as many calls as the option says has happened."""
    server = read("server")
    done = int(server.get(name, 0)) + 1
    write({**server, name: done})
    return done > int(read("options").get(name, 0))


def load(text: str) -> Any:
    """Parse YAML. The import takes time that most calls need not wait for."""
    import yaml

    return yaml.safe_load(text)


def settings() -> dict[str, Any]:
    """Return k3s's settings: config.yaml, then config.yaml.d in order; `key+` appends."""
    found: dict[str, Any] = {}
    files = [ETC / "config.yaml", *sorted((ETC / "config.yaml.d").glob("*.y*ml"))]
    for path in files:
        for key, value in (load(path.read_text()) if path.exists() else {}).items():
            name = key.removesuffix("+")
            found[name] = found[name] + value if key.endswith("+") and name in found else value
    return found


def start_k3s() -> int:
    """Start with the binary and the settings on disk. A node has the pinned name, else that of the host."""
    server, config = read("server"), settings()
    if read("options").get("does_not_start"):
        return 1
    version = re.findall(r"^# k3s (\S+)", (BINARIES / "k3s").read_text(), re.MULTILINE)[0]
    node = config.get("node-name") or (ROOT / "proc/sys/kernel/hostname").read_text().strip().lower()
    for folder in ("agent", "server/db", "server/cred"):
        (DATA / folder).mkdir(parents=True, exist_ok=True)
    if config.get("secrets-encryption"):
        (DATA / "server/cred/encryption-config.json").write_text("{}")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null"]
    subject = ["-subj", f"/O=system:nodes/CN=system:node:{node}", "-out", str(DATA / "agent/client-kubelet.crt")]
    subprocess.run(["openssl", "req", "-x509", *key, *subject], check=True, stderr=subprocess.DEVNULL, timeout=60)
    (ETC / "k3s.yaml").write_text("apiVersion: v1\n")
    nodes = {**server.get("nodes", {}), node: version}
    write({**server, "since": time.time(), "config": config, "nodes": nodes, "node": node})
    return 0


def systemctl(*args: str) -> int:
    """The service k3s. It is started only by `restart`."""
    server = read("server")
    match args:
        case "is-active", *_:
            return 0 if "since" in server else 3
        case "show", "--property=ExecMainStartTimestamp", "--value", "k3s":
            assert os.environ["TZ"] == "UTC"
            print(time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(server["since"])))
            return 0
    record("systemctl", *args)
    return start_k3s() if args == ("restart", "k3s") and UNIT.exists() else 0


def installer(*_: str) -> int:
    """k3s's install.sh with the binary in place: creates service and links, and starts k3s unless told not to."""
    environment = {name: os.environ.get(f"INSTALL_K3S_{name}", "") for name in ("EXEC", "SKIP_START", "SKIP_DOWNLOAD")}
    record("installer", *(f"{name}={value}" for name, value in sorted(environment.items())))
    command, *options = environment["EXEC"].split()
    lines = [f"ExecStart={BINARIES}/k3s", f"    {command}", *(f"\t'{each}'" for each in options)]
    UNIT.write_text("[Service]\n" + " \\\n".join([*lines, ""]) + "\n")
    kept = [
        f"{name}='{value}'" for name, value in sorted(os.environ.items()) if re.match("(K3S|CONTAINERD|KINE)_", name)
    ]
    UNIT.with_name("k3s.service.env").write_text("".join(f"{each}\n" for each in kept))
    for name in ("kubectl", "crictl", "ctr"):
        if not (BINARIES / name).is_symlink():
            (BINARIES / name).symlink_to("k3s")
    return 0 if environment["SKIP_START"] == "true" else systemctl("restart", "k3s")


def curl(*args: str) -> int:
    """Download k3s, its installer and helm; every other address answers."""
    url = args[-1].replace("%2B", "+")
    record("curl", url)
    if "--output" not in args or url.endswith("/health"):
        return 0
    if any(each in url for each in read("options").get("unreachable", ())):
        return 22
    output, [version] = Path(args[args.index("--output") + 1]), re.findall(r"v\d[\w.+]*", url)[:1]
    if url.endswith("/install.sh"):
        output.write_text(f"exec {sys.executable} {__file__} installer\n")
    elif "get.helm.sh" in url:
        folder, content = url.rpartition(f"{version}-")[2].removesuffix(".tar.gz"), shim("helm", version).encode()
        import gzip
        import io
        import tarfile

        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo(f"{folder}/helm")
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
        output.write_bytes(gzip.compress(tar.getvalue(), mtime=0))
    else:
        output.write_text(shim("k3s", version))
    return 0


def k3s(version: str, name: str, *args: str) -> int:
    """The multicall binary: `k3s kubectl`, the link `kubectl`, and `k3s --version`."""
    match (name, *args):
        case ("kubectl", *more) | ("k3s", "kubectl", *more):
            return kubectl(*more)
        case "k3s", "--version":
            print(f"k3s version {version} (0123abcd)\ngo version go1.25.0")
            return 0
    return 1


def without_namespace(args: tuple[str, ...]) -> list[str]:
    """Return the arguments without the options that the scripts pass to every call."""
    rest = [each for each in args if not each.startswith("--request-timeout")]
    while "--namespace" in rest:
        del rest[(n := rest.index("--namespace")) : n + 2]
    return rest


def configure_traefik(manifest: Path) -> int:
    """Apply a HelmChartConfig, once k3s has created that kind."""
    if not countdown("kinds"):
        print(MISSING_KIND, file=sys.stderr)
        return 1
    values = load(load(manifest.read_text())["spec"]["valuesContent"])
    write({**read("server"), "traefik_arguments": values["additionalArguments"]})
    return 0


def kubectl(*args: str) -> int:
    """kubectl, which uses k3s's own file if KUBECONFIG is not set, and warns about files that it cannot read."""
    used = os.environ.get("KUBECONFIG") or str(ETC / "k3s.yaml")
    print(f'time="…" level=warning msg="open {ETC}/config.yaml: permission denied"', file=sys.stderr)
    record("kubectl", *args, f"KUBECONFIG={used}")
    if "--filename=-" in args:
        sys.stdin.read()  # else the script that writes to it dies of SIGPIPE
    if not Path(used).exists():
        print("The connection to the server localhost:8080 was refused", file=sys.stderr)
        return 1
    server, words = read("server"), without_namespace(args)
    match words:
        case "get", "--raw", "/version":
            print(json.dumps({"gitVersion": server["nodes"][server["node"]]}))
        case "get", "node", str(name), *_:
            print(server["nodes"].get(name, ""), "True" if name == server["node"] else "Unknown")
        case "auth", "can-i", *_:
            print(read("options").get("can-i", "yes"))
        case "apply", "--filename", str(path) if path.endswith("/traefik.yaml"):
            return configure_traefik(Path(path))
        case "get", "crd", "middlewares.traefik.io":
            return 0 if countdown("traefik") else 1
        case "get", "deployment", "traefik", *_:
            print(json.dumps(["--log.level=INFO", *server.get("traefik_arguments", ())], separators=(",", ":")))
        case "get", "pod", "slipway-pull", *_:
            print("ghcr.io/me/slipway/runner:latest\t\t")
    return 0


def helm(version: str, _: str, *args: str) -> int:
    """helm with one release."""
    match without_namespace(args):
        case "version", *_:
            print(version, end="")
            return 0
        case "status", *_:
            return 0 if read("server").get("release") else 1
        case "upgrade", *more if "--dry-run=server" in more:
            print("image: ghcr.io/me/slipway/runner:latest\n  name: slipway-redis")
        case "upgrade", *_:
            write({**read("server"), "release": True})
        case "history", *_:
            print('[{"revision": 1}]')
    record("helm", *args, f"KUBECONFIG={os.environ.get('KUBECONFIG')}")
    return 0


def df(*args: str) -> int:
    """The size and the free space of a disk."""
    print(f"Size\n{read('options').get('disk_gib', 40) * (1 if '--block-size=1G' in args else 1024)}")
    return 0


PROGRAMS: dict[str, Callable[..., int]] = {
    "systemctl": systemctl,
    "installer": installer,
    "curl": curl,
    "k3s": k3s,
    "helm": helm,
    "df": df,
}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
