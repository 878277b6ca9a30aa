"""Image archives: how much an image adds to its base."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Any

INSTALL = Path(__file__).parents[1] / "support/cluster/install"


def archive_of(image: str) -> Path:
    """Return the archive of an image of the tests' cluster, built if it does not exist."""
    listed = subprocess.run([INSTALL], check=True, capture_output=True, text=True).stdout
    return Path(dict(line.split(" ", 1) for line in listed.splitlines())[image])


def layers_on_base(archive: Path) -> tuple[int, int]:
    """Return the bytes of an image's layers above its base, compressed as pulled, and unpacked.

    The archive is an OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md); the
    base of each image that the tests build is its first layer.
    """
    with tarfile.open(archive) as layout:
        index = json.load(_file(layout, "index.json"))
        manifest = json.load(_blob(layout, index["manifests"][0]))
        above = manifest["layers"][1:]
        pulled = sum(layer["size"] for layer in above)
        return pulled, sum(_unpacked(_blob(layout, layer)) for layer in above)


def _unpacked(layer: IO[bytes]) -> int:
    with gzip.open(layer) as content:
        return sum(len(piece) for piece in iter(lambda: content.read(1 << 20), b""))


def _blob(layout: tarfile.TarFile, descriptor: dict[str, Any]) -> IO[bytes]:
    return _file(layout, "blobs/" + str(descriptor["digest"]).replace(":", "/"))


def _file(layout: tarfile.TarFile, name: str) -> IO[bytes]:
    found = layout.extractfile(name)
    assert found is not None, name
    return found
