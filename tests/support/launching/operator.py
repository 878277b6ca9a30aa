"""The real operator as a separate process."""

from __future__ import annotations

from pathlib import Path

from launching.service_process import ServiceProcess

READY = "Slipway's operator watches"


class Operator(ServiceProcess):
    """An operator that can be stopped, killed and restarted."""

    stop_seconds = 30.0

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        super().__init__("operator", "pipeline_operator.main", directory / "operator.log", environment)

    def start(self) -> None:
        """Start it and wait until it begins to watch."""
        # pods with a different user than the tests' write to its folders
        self.start_until(lambda printed: READY in printed, umask=0)
