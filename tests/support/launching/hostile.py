"""Hostile or unusual pipelines, as entries of PIPELINES_FILE."""

from __future__ import annotations

from typing import Any

_SWAP = """
import ctypes, os, time
os.chdir(os.environ['APPLICATIONS_DIR'])
open('CV.md', 'w').write('harmless\\n' * 2000)
{other}
libc, end = ctypes.CDLL(None), time.time() + 60
print('swapping', flush=True)
while time.time() < end and not os.path.exists('go'):
    libc.renameat2(-100, b'CV.md', -100, b'other', 2)  # RENAME_EXCHANGE: swaps the two files
"""
_PROGRAMS: dict[str, str] = {
    "swap-link": _SWAP.format(other="os.symlink('/proc/self/environ', 'other')"),
    "swap-fifo": _SWAP.format(other="os.mkfifo('other')"),
    "latin-1-name": "import os\nopen(os.fsencode(os.environ['APPLICATIONS_DIR']) + b'/M\\xfcller.pdf', 'w').write('x')",
    "half-emoji-progress": (
        """print(r'::progress:: {"step": 1, "of": 2, "label": "\\ud83d", "more": NaN}'); print('a line after it')"""
    ),
}
_ARTIFACTS = {"latin-1-name": {"report_url": "*.pdf"}, "half-emoji-progress": {}}
HARMLESS = "harmless\n" * 2000
HOSTILE: dict[str, dict[str, Any]] = {
    name: {"command": ["python3", "-c", program], "artifacts": _ARTIFACTS.get(name, {"cv_md_url": "CV.md"})}
    for name, program in _PROGRAMS.items()
}
