"""Artifacts: the files that runs produce. A run's folder is untrusted, and every access to it goes through here.

A path is opened once, beneath the folder, and served from its descriptor. Walks and deletions are bounded, follow no
links, enter no other mounts, and run in their own threads.
"""

from launcher.artifacts.folder import ArtifactFolder, artifact_urls

__all__ = ["ArtifactFolder", "artifact_urls"]
