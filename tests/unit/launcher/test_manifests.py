"""Everything that Slipway writes to Kubernetes: a run's Job and every patch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.cluster import manifests
from launcher.cluster.jobs import run_of
from launcher.domain.pipelines import Pipeline
from launcher.domain.reasons import Reason
from launcher.domain.runs import Run
from launcher.settings import SharedSettings

AT = datetime(2026, 11, 24, 8, 0, 0, 123456, tzinfo=UTC)
RUN = Run(run_id="4711-01jd", job_id="4711", created_at=AT, updated_at=AT)
SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def test_a_plain_run_is_a_suspended_job_with_its_deadline_on_the_pod() -> None:
    assert manifests.make_job(RUN, Pipeline(), SharedSettings.from_environment({})) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "4711-01jd",
            "labels": {"slipway.dev/run": "true", "slipway.dev/phase": "queued"},
            "annotations": {
                "slipway.dev/job-id": "4711",
                "slipway.dev/pipeline": "default",
                "slipway.dev/queued-at": "2026-11-24T08:00:00.123456+00:00",
                "slipway.dev/timeout-seconds": "600",
            },
        },
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {"slipway.dev/run": "true"}},
                "spec": {
                    "restartPolicy": "Never",
                    "activeDeadlineSeconds": 1200,
                    "terminationGracePeriodSeconds": 10,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": SECURITY,
                    "containers": [
                        {
                            "name": "pipeline",
                            "image": "localhost/slipway-pipeline:latest",
                            "args": ["python", "scripts/run_pipeline.py", "--job-id", "4711"],
                            "env": [
                                {"name": "SLIPWAY_RUN_ID", "value": "4711-01jd"},
                                {"name": "APPLICATIONS_DIR", "value": "/app/applications"},
                                {"name": "PIPELINE_PARAMS", "value": "{}"},
                                {"name": "CI", "value": "1"},
                                {"name": "PYTHONUNBUFFERED", "value": "1"},
                                {"name": "HOME", "value": "/home/slipway"},
                            ],
                            "resources": {
                                "requests": {"ephemeral-storage": "2Gi"},
                                "limits": {"ephemeral-storage": "2Gi"},
                            },
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "securityContext": RESTRICTED,
                            "volumeMounts": [
                                {
                                    "name": "data",
                                    "mountPath": "/app/applications",
                                    "subPath": "applications/4711-01jd",
                                },
                                {"name": "home", "mountPath": "/home/slipway"},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "shm", "mountPath": "/dev/shm"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": "slipway-data"}},
                        {"name": "home", "emptyDir": {"sizeLimit": "2Gi"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
                        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                    ],
                },
            },
        },
    }


def test_every_setting_appears_in_the_job() -> None:
    run = Run(
        run_id="engineer-01jd",
        job_id="$(HOME) engineer",
        profile_ref="senior",
        pipeline="letters",
        params={"tone": "herzlich, mit Grüßen"},
        priority=-5,
        timeout_seconds=60,
        created_at=AT,
        updated_at=AT,
        idempotency_hash="ab" * 32,
        request_hash="cd" * 32,
    )
    pipeline = Pipeline(
        name="letters",
        command=["write", "--for={job_id}", "--profile", "{profile}"],
        image="registry.example/letters:7",
        resources={"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    )
    settings = SharedSettings.from_environment(
        {
            "TERMINATION_GRACE_SECONDS": "0.2",
            "START_GRACE_SECONDS": "30",
            "DATA_CLAIM": "volume",
            "PIPELINE_SECRET": "keys",
            "CREDENTIALS_SECRET": "google",
            "MASTER_CV_CONFIGMAP": "cv",
            "PIPELINE_EPHEMERAL_STORAGE": "512Mi",
            "IMAGE_PULL_SECRETS": "registry, mirror",
        }
    )
    assert manifests.make_job(run, pipeline, settings) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "engineer-01jd",
            "labels": {
                "slipway.dev/run": "true",
                "slipway.dev/phase": "queued",
                "slipway.dev/idempotency": "ab" * 31 + "a",
            },
            "annotations": {
                "slipway.dev/job-id": "$(HOME) engineer",
                "slipway.dev/profile": "senior",
                "slipway.dev/pipeline": "letters",
                "slipway.dev/params": '{"tone": "herzlich, mit Grüßen"}',
                "slipway.dev/priority": "-5",
                "slipway.dev/queued-at": "2026-11-24T08:00:00.123456+00:00",
                "slipway.dev/timeout-seconds": "60",
                "slipway.dev/idempotency": "ab" * 32,
                "slipway.dev/request": "cd" * 32,
            },
        },
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {"slipway.dev/run": "true"}},
                "spec": {
                    "restartPolicy": "Never",
                    "activeDeadlineSeconds": 90,
                    "terminationGracePeriodSeconds": 1,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": SECURITY,
                    "containers": [
                        {
                            "name": "pipeline",
                            "image": "registry.example/letters:7",
                            "args": ["write", "--for=$$(HOME) engineer", "--profile", "senior"],
                            "env": [
                                {"name": "SLIPWAY_RUN_ID", "value": "engineer-01jd"},
                                {"name": "APPLICATIONS_DIR", "value": "/app/applications"},
                                {"name": "PIPELINE_PARAMS", "value": '{"tone": "herzlich, mit Grüßen"}'},
                                {"name": "CI", "value": "1"},
                                {"name": "PYTHONUNBUFFERED", "value": "1"},
                                {"name": "HOME", "value": "/home/slipway"},
                            ],
                            "envFrom": [{"secretRef": {"name": "keys"}}],
                            "resources": {
                                "requests": {"cpu": 1, "memory": "1Gi", "ephemeral-storage": "512Mi"},
                                "limits": {"memory": "2Gi", "ephemeral-storage": "512Mi"},
                            },
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "securityContext": RESTRICTED,
                            "volumeMounts": [
                                {
                                    "name": "data",
                                    "mountPath": "/app/applications",
                                    "subPath": "applications/engineer-01jd",
                                },
                                {"name": "home", "mountPath": "/home/slipway"},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "shm", "mountPath": "/dev/shm"},
                                {
                                    "name": "master-cv",
                                    "mountPath": "/app/master-cv.md",
                                    "subPath": "master-cv.md",
                                    "readOnly": True,
                                },
                                {"name": "credentials", "mountPath": "/app/credentials", "readOnly": True},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "data", "persistentVolumeClaim": {"claimName": "volume"}},
                        {"name": "home", "emptyDir": {"sizeLimit": "512Mi"}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "512Mi"}},
                        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                        {"name": "master-cv", "configMap": {"name": "cv"}},
                        {"name": "credentials", "secret": {"secretName": "google"}},
                    ],
                    "imagePullSecrets": [{"name": "registry"}, {"name": "mirror"}],
                },
            },
        },
    }


@pytest.mark.parametrize(
    ("resources", "request_", "limit"),
    [
        ({}, "2Gi", "2Gi"),
        ({"limits": {"memory": "1Gi"}}, "2Gi", "2Gi"),
        ({"limits": {"ephemeral-storage": "2Mi"}}, "2Mi", "2Mi"),
        ({"requests": {"ephemeral-storage": "5Gi"}}, "5Gi", "5Gi"),
        ({"requests": {"ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "9Gi"}}, "1Gi", "9Gi"),
    ],
)
def test_a_pod_has_a_disk_limit_and_the_pipelines_own_takes_precedence(
    resources: dict[str, Any], request_: str, limit: str
) -> None:
    job = manifests.make_job(RUN, Pipeline(resources=resources), SharedSettings.from_environment({}))
    pod = job["spec"]["template"]["spec"]
    amounts = pod["containers"][0]["resources"]
    assert amounts["requests"]["ephemeral-storage"] == request_
    assert amounts["limits"]["ephemeral-storage"] == limit
    volumes = {volume["name"]: volume.get("emptyDir") for volume in pod["volumes"]}
    assert volumes["home"] == volumes["tmp"] == {"sizeLimit": limit}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        pytest.param(
            manifests.release_patch({"metadata": {"name": "a", "uid": "5f3c", "resourceVersion": "41"}}),
            {
                "metadata": {
                    "uid": "5f3c",
                    "labels": {"slipway.dev/phase": "released"},
                    "annotations": {"slipway.dev/phase-of": "5f3c"},
                },
                "spec": {"suspend": False},
            },
            id="a release is bound to the Job's uid, not to its version",
        ),
        pytest.param(
            manifests.cancel_patch(AT),
            {"metadata": {"annotations": {"slipway.dev/cancel": "2026-11-24T08:00:00.123456+00:00"}}},
            id="a cancellation request has its time",
        ),
        pytest.param(
            manifests.termination_patch(Reason.IMAGE_PULL, "The image a:1 cannot be pulled: not found", suspend=False),
            {
                "metadata": {
                    "annotations": {
                        "slipway.dev/end-for": "ImagePull",
                        "slipway.dev/end-detail": "The image a:1 cannot be pulled: not found",
                    }
                }
            },
            id="a termination by the operator has its reason",
        ),
        pytest.param(
            manifests.termination_patch(Reason.CANNOT_START, "", suspend=True),
            {
                "metadata": {"annotations": {"slipway.dev/end-for": "CannotStart", "slipway.dev/end-detail": ""}},
                "spec": {"suspend": True},
            },
            id="a termination without a pod prevents one",
        ),
        pytest.param(
            manifests.deadline_patch(), {"spec": {"activeDeadlineSeconds": 1}}, id="a pod is terminated at once"
        ),
        pytest.param(manifests.pause_patch(True), {"data": {"paused": "true"}}, id="the queue is paused"),
        pytest.param(manifests.pause_patch(False), {"data": {"paused": "false"}}, id="the queue is resumed"),
    ],
)
def test_each_patch_contains_only_what_changes(patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patch == expected


def test_a_record_is_written_with_its_phase_and_ttl() -> None:
    patch = manifests.record_patch({"metadata": {"uid": "5f3c"}}, RUN, 86400)
    assert patch == {
        "metadata": {
            "labels": {"slipway.dev/phase": "recorded"},
            "annotations": {"slipway.dev/phase-of": "5f3c", "slipway.dev/record": RUN.to_json().decode()},
        },
        "spec": {"ttlSecondsAfterFinished": 86400},
    }
    job = {"metadata": {"name": RUN.run_id, "uid": "5f3c", **patch["metadata"]}}
    assert run_of(job, start_grace_seconds=600) == RUN


def test_a_record_can_suspend_its_job() -> None:
    patch = manifests.record_patch({"metadata": {"uid": "5f3c"}}, RUN, 0, suspend=True)
    assert patch["spec"] == {"ttlSecondsAfterFinished": 0, "suspend": True}


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Expand a command or a value as Kubernetes does: `$(NAME)` becomes its value, if it has one, and `$$` becomes `$`.

    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """

    def replaced(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else values.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replaced, text)


def test_the_double_of_kubernetes_expansion_follows_its_documentation() -> None:
    values = {"HOME": "/home/slipway"}
    assert expanded("$(HOME)/a $(NONE) $$(HOME) $HOME $$$(HOME) $(HOME a$$b $", values) == (
        "/home/slipway/a $(NONE) $(HOME) $HOME $/home/slipway $(HOME a$b $"
    )


def expanded_in_the_container(text: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a run whose job_id, profile, parameters and command contain this text."""
    run = replace(RUN, job_id=text, profile_ref=text, params={"of": text})
    pipeline = Pipeline(command=["write", text, "--for={job_id}", "{profile}"])
    job = manifests.make_job(run, pipeline, SharedSettings.from_environment({}))
    container = job["spec"]["template"]["spec"]["containers"][0]
    values: dict[str, str] = {}
    for variable in container["env"]:
        values[variable["name"]] = expanded(variable["value"], values)
    return [expanded(word, values) for word in container["args"]], values


@pytest.mark.parametrize("text", ["pa$$word", "$$(HOME)", "$(HOME)", "$$$", "a$b", "$", "$$$$(HOME)", "$($$HOME)"])
def test_no_text_is_changed_by_kubernetes_expansion(text: str) -> None:
    command, environment = expanded_in_the_container(text)
    assert command == ["write", text, f"--for={text}", text]
    assert json.loads(environment["PIPELINE_PARAMS"]) == {"of": text}
    assert environment["HOME"] == "/home/slipway"


@given(st.text("$()HOME ", min_size=1))
def test_kubernetes_leaves_any_text_unchanged(text: str) -> None:
    command, environment = expanded_in_the_container(text)
    assert command == ["write", text, f"--for={text}", text]
    assert json.loads(environment["PIPELINE_PARAMS"]) == {"of": text}
