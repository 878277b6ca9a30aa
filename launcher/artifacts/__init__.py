"""Artifacts: the files that runs leave. A run's folder is hostile ground, and every look into it goes through here.

A path is opened once, beneath the folder, and served from its descriptor; walks and deletions are bounded, follow no
link, enter no other mount, and run in threads of their own.
"""

from launcher.artifacts.folder import ArtifactFolder, artifact_urls

__all__ = ["ArtifactFolder", "artifact_urls"]
