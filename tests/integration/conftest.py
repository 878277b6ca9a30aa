"""One running launcher, shared by all tests in this folder that do not stop it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from launching.launcher import Launcher

FILES = """
import os
os.chdir(os.environ['APPLICATIONS_DIR'])
os.makedirs('a/b')
open('a/b/out.txt', 'w').write('x')
os.symlink('/etc/passwd', 'link.txt')
os.symlink('/etc', 'etc')
os.symlink('loop', 'loop')
"""
PROGRESS = """
for n in range(1, 4):
    print('::progress:: {"step": %d, "of": 3, "label": "Step"}' % n)
    print('line', n)
"""
PIPELINES: dict[str, dict[str, Any]] = {
    "hello": {"command": ["python", "-c", "print('hello')"], "artifacts": {}},
    "files": {"command": ["python", "-c", FILES], "artifacts": {"out_url": "out.txt", "link_url": "link.txt"}},
    "progress": {"command": ["python", "-c", PROGRESS]},
}


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(
        tmp_path_factory.mktemp("api"),
        PIPELINES,
        MAX_CONCURRENCY="4",
        CORS_ORIGINS="https://app.example.com, https://other.example.com",
    ) as running:
        yield running
