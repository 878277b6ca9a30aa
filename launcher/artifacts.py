"""Artifacts: the files that a run leaves in its own folder, found by name and served without a way out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from launcher.domain.errors import ArtifactNotFound, OutsideFolder
from launcher.domain.runs import Run


class ArtifactFolder:
    """All runs' artifacts below one folder, `ROOT/<run_id>/…`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def of(self, run_id: str) -> Path:
        """Return a run's own folder, whether it is there or not."""
        return self._root / run_id

    def make(self, run_id: str) -> Path:
        """Make a run's own folder."""
        folder = self.of(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discover(self, run_id: str, wanted: Mapping[str, str]) -> dict[str, str]:
        """Find the wanted files (key to name or pattern) anywhere below the run's folder; return key to path below it.

        Of several that fit the shallowest, then the first by name, counts. Links are not followed.
        """
        folder = self.of(run_id)
        there: list[Path] = []
        for directory, _, names in os.walk(folder):  # what cannot be read is passed over
            for name in names:
                path = Path(directory) / name
                if not path.is_symlink() and path.is_file():
                    there.append(path.relative_to(folder))
        there.sort(key=lambda path: (len(path.parts), str(path)))
        fitting = {
            key: next((path for path in there if path.name == pattern or fnmatchcase(path.name, pattern)), None)
            for key, pattern in wanted.items()
        }
        return {key: str(path) for key, path in fitting.items() if path is not None}

    def size(self, run_id: str) -> int:
        """Return how many bytes the run's folder holds."""
        total = 0
        for folder, _, names in os.walk(self.of(run_id)):
            for name in names:
                try:
                    total += (Path(folder) / name).lstat().st_size
                except OSError:  # the pipeline renames, deletes and locks while we look
                    continue
        return total

    def locate(self, run: Run, name: str) -> Path:
        """Return the file for a name: one of the run's artifacts, or a path below its folder.

        Raises `OutsideFolder` where the path leads out, by `..`, absolute, by a link or a NUL;
        `ArtifactNotFound` where nothing is there.
        """
        folder = self.of(run.run_id)
        known = {Path(path).name: path for path in run.artifacts.values()}
        if "\0" in name:
            raise OutsideFolder
        path = folder / known.get(name, name)
        try:
            real = path.resolve()
            if not real.is_relative_to(folder.resolve()):
                raise OutsideFolder
            if real.is_file():
                return real
        except (OSError, RuntimeError) as exc:  # a name too long, a loop of links
            raise ArtifactNotFound from exc
        raise ArtifactNotFound

    def delete(self, run_id: str) -> None:
        """Forget a run's artifacts."""
        shutil.rmtree(self.of(run_id), ignore_errors=True)


def artifact_urls(run: Run) -> dict[str, str]:
    """Return key to URL path, as REST and MongoDB show them."""
    return {key: f"/artifacts/{run.run_id}/{quote(Path(path).name)}" for key, path in run.artifacts.items()}
