"""What the doctor says about images that can and cannot be pulled."""

from __future__ import annotations

from typing import Any

from launcher.cli.findings import Finding
from launcher.cli.image_checks import image_findings

IMAGE = "ghcr.io/me/pipeline:1"
DONE = {"terminated": {"exitCode": 0}}
NO_PROGRAM = {"terminated": {"exitCode": 128, "reason": "StartError"}}
REFUSED = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: 403 Forbidden"}}
ABSENT = {"waiting": {"reason": "ErrImageNeverPull", "message": "not present with pull policy of Never"}}


def finding(**states: Any) -> Finding:
    [found] = image_findings(
        {IMAGE: ["pipeline default", "pipeline other"]}, {f"{name}-0": state for name, state in states.items()}
    )
    assert found.check == "image of pipeline default, pipeline other" and IMAGE in found.found
    return found


def test_image_that_can_be_pulled_is_ok_whether_or_not_it_was_on_the_node() -> None:
    assert finding(have=DONE, pull=DONE) == finding(have=ABSENT, pull=DONE)
    assert finding(have=DONE, pull=DONE).state == "ok"


def test_image_need_not_contain_a_certain_program() -> None:
    assert finding(have=NO_PROGRAM, pull=NO_PROGRAM).state == "ok"


def test_image_that_is_only_on_the_node_is_a_warning() -> None:
    found = finding(have=DONE, pull=REFUSED)
    assert found.state == "warn" and "is on the node, but cannot be pulled" in found.found
    assert "403 Forbidden" in found.found and "registry.json" in found.do and "disk fills up" in found.do


def test_image_that_is_nowhere_is_a_fault() -> None:
    found = finding(have=ABSENT, pull=REFUSED)
    assert found.state == "fail" and "cannot be pulled: Back-off" in found.found and "registry.json" in found.do
    assert finding(have=ABSENT, pull={"waiting": {"reason": "InvalidImageName"}}).state == "fail"
