"""Programs for the tests of the scripts: actionlint, shellcheck, sshd, ufw."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[1] / "support/deploy/install"


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with actionlint; shellcheck, sshd and ufw are installed too."""
    done = subprocess.run([INSTALL], check=True, stdout=subprocess.PIPE, text=True, timeout=900)
    return Path(done.stdout.strip())
