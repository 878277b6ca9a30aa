"""The reference pages that say what the code says: they are made from it, and never committed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from importlib import import_module
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click
from typer.main import get_command

from launcher.api.app import create_app
from launcher.domain.log_lines import Gap, LineKind, LogLine, gap_data
from launcher.domain.pipelines import DEFAULT_EXIT_CODES
from launcher.domain.reasons import Reason, sentence
from launcher.domain.runs import Run, now
from launcher.logs.events import line_event, partial_event, run_event
from launcher.settings import Settings, SharedSettings
from launcher.stores.ports import work_item_fields
from pipeline_operator.settings import OperatorSettings

_METHODS = ("get", "post", "delete")
_RUN_FIELDS = {
    "run_id": "The run, also as `_id`. On Kubernetes it is the name of its Job.",
    "job_id": "The work item: `jobId` in `level-2`.",
    "profile_ref": "The profile that was requested.",
    "pipeline": "The name of the pipeline.",
    "params": "The parameters of the request. The pipeline reads them from `PIPELINE_PARAMS`.",
    "priority": "-100 to 100. Higher goes first.",
    "timeout_seconds": "The time limit, counted from the start of the container or process.",
    "status": "`queued`, `running`, `completed`, `failed` or `cancelled`. The last three never change.",
    "reason": "Why the run finished: a stable code for programs.",
    "message": "Why the run finished: a sentence for people.",
    "exit_code": "The exit code, or 128 plus the signal's number. Null if no process was started.",
    "created_at": "When the run was requested.",
    "started_at": "When the pipeline started.",
    "completed_at": "When the run finished.",
    "updated_at": "When this record last changed.",
    "cancel_requested": "Whether someone asked to cancel the run.",
    "waiting_for": "What a run that has a slot still waits for, in words.",
    "artifacts": "The key of each artifact (`cv_md_url`) and its path in the run's folder.",
    "log": "The receipt: `lines`, `bytes`, `complete`, `gaps`.",
    "revision": "The number of changes, from 1. A record never replaces one with a higher revision.",
    "idempotency_hash": "A hash of the `Idempotency-Key`.",
    "request_hash": "A hash of the request, to detect a key that comes with another request.",
}
_EXIT_CODES = {Reason.KILLED_BY_SIGNAL: -9}


def write_pages(folder: Path) -> None:
    """Write every page into the folder; a page that has not changed keeps its time."""
    folder.mkdir(parents=True, exist_ok=True)
    for make in (settings, rest, command_line, events, mongodb, reasons, metrics):
        path, text = folder / f"{make.__name__.replace('_', '-')}.md", make()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def settings() -> str:
    """Every setting of the launcher and the operator."""
    shared = set(SharedSettings.model_fields)
    groups: dict[str, type[SharedSettings]] = {
        "Launcher and operator": SharedSettings,
        "Launcher only": Settings,
        "Operator only": OperatorSettings,
    }
    parts = []
    for title, model in groups.items():
        fields = {n: f for n, f in model.model_fields.items() if model is SharedSettings or n not in shared}
        rows = ((f"`{name}`", _default(field), _sentence(field.description)) for name, field in fields.items())
        parts.append(f"## {title}\n\n" + _table(("Setting", "Default", "Meaning"), rows))
    return "\n".join(parts)


def rest() -> str:
    """Every call of the REST API, from its OpenAPI document."""
    document = create_app(Settings.model_construct()).openapi()
    schemas = document["components"]["schemas"]
    calls = {
        f"{method.upper()} {path}": of_path[method]
        for path, of_path in document["paths"].items()
        for method in _METHODS
        if method in of_path
    }
    answers = [{(code, each["description"]) for code, each in call["responses"].items()} for call in calls.values()]
    common = {answer for answer in set.intersection(*answers) if int(answer[0]) >= 400}
    parts = [_call(name, call, schemas, common) for name, call in calls.items()]
    parts.append("## Errors of every call\n\n" + _table(("Status", "Meaning"), sorted(common)))
    return "\n".join(parts)


def command_line() -> str:
    """The commands, as Typer documents them."""
    parts = []
    for name, module in {"slipway": "launcher.cli.main", "slipway-launcher": "launcher.main"}.items():
        command: Any = get_command(import_module(module).cli)
        parts.append(
            get_docs_for_click(obj=command, ctx=command.make_context(name, [], resilient_parsing=True), name=name)
        )
    return "\n".join(parts).replace("\n# ", "\n\n# ").replace("# `", "## `")


def events() -> str:
    """One of each event, as the stream sends it."""
    progress = b'::progress:: {"step": 2, "of": 7, "label": "Reading the posting"}'
    gap = gap_data(Gap(first=3, last=9, why="7 lines were rotated away on the node."))
    wire = (
        line_event(LogLine(1, "", LineKind.SYSTEM, b"Starting pipeline default for job 4711")),
        line_event(LogLine(2, "", LineKind.LINE, progress)),
        line_event(LogLine(9, "", LineKind.GAP, gap)),
        partial_event("42 %"),
        run_event("status", {"run_id": "4711-01kav…", "status": "running"}),
        run_event("end", {"run_id": "4711-01kav…", "status": "completed"}),
    )
    return "```text\n" + b"".join(wire).decode().strip() + "\n```\n"


def mongodb() -> str:
    """The fields of both collections, with an example of each."""
    run = Run(run_id="4711-01kav3mq8w3n0d3k2h7f6s9x1c", job_id="4711", created_at=now(), updated_at=now())
    fields = TypeAdapter(Run).json_schema(mode="serialization")["properties"]
    rows = ((f"`{name}`", _type(field), _RUN_FIELDS[name]) for name, field in fields.items())
    return (
        "## `level-2`\n\n"
        + _table(("Field", "Type"), _item_types(work_item_fields(run, {})))
        + "\n## `pipeline_runs`\n\n"
        + _table(("Field", "Type", "Meaning"), rows)
    )


def reasons() -> str:
    """Every reason code, with its sentence, and what the bundled pipeline's exit codes mean."""
    own = ((f"`{reason}`", sentence(reason, exit_code=_EXIT_CODES.get(reason, 1), limit=600)) for reason in Reason)
    theirs = ((code, f"`{meaning.reason}`", meaning.message) for code, meaning in DEFAULT_EXIT_CODES.items())
    return (
        "## Slipway's own\n\n"
        + _table(("Reason", "Message, for example"), own)
        + "\n## The bundled pipeline's\n\n"
        + _table(("Exit code", "Reason", "Message"), theirs)
    )


def metrics() -> str:
    """Every metric that the launcher and the operator define, whichever process serves it."""
    for name in ("launcher.engines.kubernetes", "launcher.engines.local", "pipeline_operator.handlers"):
        import_module(name)
    ours = [
        vars(module) for name, module in sys.modules.items() if name.startswith(("launcher.", "pipeline_operator."))
    ]
    defined = {value for names in ours for value in names.values() if isinstance(value, MetricWrapperBase)}
    families = sorted((family for metric in defined for family in metric.describe()), key=lambda family: family.name)
    rows = (
        (f"`{each.name}{'_total' * (each.type == 'counter')}`", each.type, _sentence(each.documentation))
        for each in families
    )
    return _table(("Metric", "Type", "Meaning"), rows)


def _call(name: str, call: Mapping[str, Any], schemas: Mapping[str, Any], common: Set[tuple[str, str]]) -> str:
    parts = [f"## `{name}`", f"**{call['summary']}.** {call.get('description', '')}"]
    rows = [
        (f"`{each['name']}`", each["in"], _type(each["schema"]), each.get("description", ""))
        for each in call.get("parameters", [])
    ]
    if body := call.get("requestBody"):
        schema = body["content"]["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
        rows += [
            (f"`{field}`", "body", _type(found), found.get("description", ""))
            for field, found in schemas.get(schema, {}).get("properties", {}).items()
        ]
    if rows:
        parts.append(_table(("Name", "In", "Type", "Meaning"), rows))
    answers = [(code, answer["description"]) for code, answer in call["responses"].items()]
    if own := [answer for answer in answers if answer not in common and answer[1] != "Successful Response"]:
        parts.append(_table(("Status", "Meaning"), own))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in choices))
    if "$ref" in schema:
        return "object" if schema["$ref"].endswith("Receipt") else "string"  # all others are enumerations
    return "time" if schema.get("format") == "date-time" else str(schema.get("type", "object"))


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    return "–" if value in (None, (), PydanticUndefined) else f"`{value}`"


def _item_types(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    types = {"pipeline_run_at": "date", "pipeline_completed_at": "date or null", "artifact_urls": "object"}
    return ((f"`{name}`", types.get(name, "string")) for name in document)


def _sentence(text: str | None) -> str:
    if not text:
        return ""
    first = text.split()[0]
    return (text if "://" in first or not first.islower() else text[0].upper() + text[1:]).rstrip(".") + "."


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    heads = list(head)
    return "\n".join([line(heads), line("---" for _ in heads), *map(line, rows)]) + "\n"
