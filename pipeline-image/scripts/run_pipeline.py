"""Run the pipeline for one job: ``python scripts/run_pipeline.py --job-id ID [--profile NAME]``."""

import os
import sys
from pathlib import Path

# The package is next to this folder and need not be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline_runner.main import main

if __name__ == "__main__":
    os.umask(0o027)  # only the user and group can read the artifacts
    sys.exit(main())
