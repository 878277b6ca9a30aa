"""The profile files: those of this package and those in ``PROFILES_DIR``.

It imports no large library, so that an unknown profile is rejected at once.
"""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).resolve().parent / "bundled_profiles"
DEFAULT = "default"


def profile_files(extra: Path | None = None) -> dict[str, Path]:
    """Map the name of each profile to its file; a file in the extra folder overrides a bundled one."""
    folders = [BUNDLED] if extra is None else [BUNDLED, extra]
    found = {path.stem: path for folder in folders for path in folder.glob("*.yaml") if path.is_file()}
    return dict(sorted(found.items()))
