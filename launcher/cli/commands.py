"""The commands. Each imports what it needs itself, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.cli.failures import Exit, Failure
from launcher.cli.options import (
    RUN,
    AsJson,
    Follow,
    Key,
    NewestOf,
    OfCluster,
    Params,
    PipelineName,
    PlainUsage,
    Priority,
    Profile,
    Reference,
    Timeout,
    print_version,
)

if TYPE_CHECKING:
    from launcher.cli.client import Client, Run
    from launcher.cli.follow import OnInterrupt

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Launch and follow pipeline runs. Set RUNNER_URL and RUNNER_API_SECRET to reach the launcher.",
)
artifacts = typer.Typer(no_args_is_help=True, help="List and download a run's artifacts.")
cli.add_typer(artifacts, name="artifacts")


@cli.callback()
def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _client() -> Client:
    from launcher.cli.client import Client

    return Client.from_environment()


def _follow(client: Client, run: Run, as_json: bool, *, after: int = 0, on_interrupt: OnInterrupt) -> None:
    from launcher.cli.display import TextDisplay
    from launcher.cli.follow import JsonDisplay, follow

    display = JsonDisplay() if as_json else TextDisplay()
    raise typer.Exit(follow(client, run["run_id"], display, after=after, on_interrupt=on_interrupt))


def _show(value: Any, as_json: bool) -> None:
    from launcher.cli import output

    if as_json:
        output.document(value)
        return
    for text in output.run_lines(value):
        output.say(text)


def _options(
    profile: str | None, pipeline: str | None, params: list[str] | None, priority: int, timeout: int | None
) -> dict[str, Any]:
    values: dict[str, str] = {}
    for param in params or []:
        name, sign, value = param.partition("=")
        if not sign:
            raise Failure(f"Invalid --param {param}. Use NAME=VALUE.")
        values[name] = value
    found = {"profile_ref": profile, "pipeline": pipeline, "timeout_seconds": timeout, "priority": priority}
    return {name: value for name, value in found.items() if value is not None} | {"params": values}


@cli.command(cls=PlainUsage)
def run(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="Work item to process.")],
    profile: Profile = None,
    pipeline: PipelineName = None,
    param: Params = None,
    priority: Priority = 0,
    timeout: Timeout = None,
    key: Key = None,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Launch a run."""
    client = _client()
    launched = client.launch({"job_id": job_id, **_options(profile, pipeline, param, priority, timeout)}, key)
    if follow:
        _follow(client, launched, as_json, on_interrupt="ask")
    _show(launched, as_json)


@cli.command("run-bulk")
def run_bulk(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="JOB_ID", help="Work items to process.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-F", help="Read work items from a file, one per line; - for stdin.")
    ] = None,
    profile: Profile = None,
    pipeline: PipelineName = None,
    param: Params = None,
    priority: Priority = 0,
    timeout: Timeout = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Launch a run for each work item.

    Repeat the command with the same --key to launch only those that are missing.
    """
    from launcher.cli import output

    wanted = [*(job_ids or []), *(_lines_of(file) if file else [])]
    if not wanted:
        raise Failure("No work items given. Name them, or use --file (- for stdin).")
    headers = {"Idempotency-Key": key} if key else {}
    body = {"job_ids": wanted, **_options(profile, pipeline, param, priority, timeout)}
    result = _client().call("POST", "/jobs/run-bulk", json=body, headers=headers)
    if as_json:
        output.document(result)
    else:
        for item in result["runs"]:
            output.say(f"{item['job_id']}  {item.get('run_id') or 'refused: ' + item['problem']['detail']}")
        output.note(f"{result['accepted']} accepted, {result['refused']} refused")
    if result["refused"]:
        raise typer.Exit(Exit.REFUSED)


def _lines_of(file: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise Failure(f"Cannot read --file {file}: {exc}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


@cli.command()
def ps(
    job_id: Annotated[str | None, typer.Option(help="Filter by work item.")] = None,
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="Filter by status: queued, running, completed, failed or cancelled."),
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Filter by pipeline.")] = None,
    page: Annotated[int, typer.Option(min=1, help="Page to show.")] = 1,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Runs per page.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    from launcher.cli import output

    found = _client().page(page, limit, job_id=job_id, status=status, pipeline=pipeline)
    if as_json:
        output.document(found)
        return
    head, rows = output.run_table(found["runs"])
    if rows:
        output.note(head)
    for row in rows:
        output.say(row)
    output.note(f"{len(found['runs'])} of {found['total']} {'run' if found['total'] == 1 else 'runs'}")


@cli.command()
def status(reference: Reference = None, job_id: NewestOf = None, as_json: AsJson = False) -> None:
    """Show a run's status."""
    _show(_client().run(reference, job_id), as_json)


@cli.command()
def logs(
    reference: Reference = None,
    job_id: NewestOf = None,
    follow: Follow = False,
    after: Annotated[int, typer.Option(min=0, help="Skip the lines up to this number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print or follow a run's log.

    Without --follow, it is the raw log, with the pipeline's ::progress:: lines.
    """
    from launcher.cli import output

    client = _client()
    found = client.run(reference, job_id)
    if follow:
        _follow(client, found, as_json, after=after, on_interrupt="leave")
    body = output.after_line(client.download(f"/jobs/{found['run_id']}/log"), after)
    if as_json:
        output.text_document({"run_id": found["run_id"]}, body)
    elif sys.stdout.isatty():
        for text in output.lines_of(body):
            output.line(output.last_frame(text))
    else:
        for piece in body:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@cli.command()
def cancel(reference: Reference = None, job_id: NewestOf = None, as_json: AsJson = False) -> None:
    """Cancel a run."""
    client = _client()
    found = client.run(reference, job_id)
    _show(client.call("DELETE", f"/jobs/{found['run_id']}"), as_json)


@cli.command()
def retry(
    reference: Reference = None,
    job_id: NewestOf = None,
    key: Key = None,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Launch a run again.

    The new run has the same work item, profile, pipeline, parameters, priority and time limit.
    """
    client = _client()
    found = client.run(reference, job_id)
    again = client.launch(client.call("GET", f"/jobs/{found['run_id']}/request"), key)
    if follow:
        _follow(client, again, as_json, on_interrupt="ask")
    _show(again, as_json)


@artifacts.command("list")
def artifacts_list(reference: Reference = None, job_id: NewestOf = None, as_json: AsJson = False) -> None:
    """List a run's artifacts."""
    from launcher.cli import output

    found = _client().run(reference, job_id)
    if as_json:
        output.document({"run_id": found["run_id"], "artifacts": found["artifacts"]})
        return
    for url in found["artifacts"].values():
        output.say(_name_of(url))
    if not found["artifacts"]:
        output.note(f"Run {found['run_id']} has no artifacts. Its status is {found['status']}.")


@artifacts.command("get", cls=PlainUsage)
def artifacts_get(
    reference: Annotated[str, RUN],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="Files to download. Defaults to all.")
    ] = None,
    to: Annotated[Path, typer.Option("--to", "-o", help="Folder to save the files in.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Download a run's artifacts.

    Each file is saved whole or not at all.
    """
    from launcher.cli import output

    client = _client()
    found = client.run(reference)
    urls = {_name_of(url): url for url in found["artifacts"].values()}
    if missing := [name for name in names or [] if name not in urls]:
        raise Failure(f"Artifact not found: {', '.join(missing)}. The run has: {', '.join(urls) or 'none'}.")
    if not urls:
        raise Failure(f"Run {found['run_id']} has no artifacts. Its status is {found['status']}.")
    written = []
    for name in names or urls:
        path = to / Path(name).name  # never outside the folder, whatever the launcher calls it
        part = path.with_name(f".{path.name}.part")
        try:
            to.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as target:
                for piece in client.download(urls[name]):
                    target.write(piece)
            part.replace(path)
        except OSError as exc:
            raise Failure(f"Cannot write {path}: {exc.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        written.append(str(path))
    if as_json:
        output.document({"run_id": found["run_id"], "files": written})
        return
    for each in written:
        output.say(each)


def _name_of(url: str) -> str:
    from urllib.parse import unquote

    return unquote(url.split("/", 3)[-1])


@cli.command()
def token(
    scope: Annotated[
        list[str] | None, typer.Option(help="Scope: run, read, cancel or admin. Repeatable. Defaults to read.")
    ] = None,
    subject: Annotated[str, typer.Option(help="Who the token is for; limits and logs show it.")] = "command-line",
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="Lifetime in hours.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Create an access token with limited scopes.

    It is signed on this machine with RUNNER_API_SECRET, which must be the launcher's own secret.
    """
    from launcher.api.auth import Authenticator, Scope
    from launcher.cli import output
    from launcher.domain.setting_rules import Unusable, usable

    secret = os.environ.get("RUNNER_API_SECRET")
    if not secret:
        raise Failure("RUNNER_API_SECRET is not set. Set it to the launcher's own secret, which signs the token.")
    try:
        usable("RUNNER_API_SECRET", secret)
    except Unusable as exc:
        raise Failure(f"{exc}.") from None
    if secret.startswith("eyJ") and secret.count(".") == 2:
        raise Failure("RUNNER_API_SECRET is a token, which cannot sign another. Set it to the launcher's own secret.")
    try:
        scopes = [Scope(name) for name in scope or ["read"]]
    except ValueError as exc:
        raise Failure(f"Invalid --scope: {exc}. Use one of {', '.join(Scope)}.") from None
    seconds = round(hours * 3600)
    text = Authenticator([secret]).token(subject, scopes, seconds=seconds)
    if as_json:
        output.document({"token": text, "scopes": scopes, "subject": subject, "expires_in_seconds": seconds})
    else:
        output.say(text)


@cli.command()
def pause(as_json: AsJson = False) -> None:
    """Pause the queue.

    Runs that are already running continue.
    """
    _switch("pause", "The queue is paused. Running runs continue.", as_json)


@cli.command()
def resume(as_json: AsJson = False) -> None:
    """Resume the queue."""
    _switch("resume", "The queue is resumed.", as_json)


def _switch(name: str, sentence: str, as_json: bool) -> None:
    from launcher.cli import output

    answer = _client().call("POST", f"/queue/{name}")
    if as_json:
        output.document(answer)
    else:
        output.say(sentence)


@cli.command()
def doctor(cluster: OfCluster = False, as_json: AsJson = False) -> None:
    """Check everything between this machine and the cluster, and suggest fixes."""
    from launcher.cli import output
    from launcher.cli.doctor import examine

    findings = examine(cluster=cluster)
    if as_json:
        output.document(
            {
                "healthy": not any(each.state == "fail" for each in findings),
                "checks": [
                    {"check": each.check, "state": each.state, "found": each.found, "do": each.do} for each in findings
                ],
            }
        )
    else:
        for text in (line for each in findings for line in each.lines()):
            output.say(text)
    if any(each.state == "fail" for each in findings):
        raise typer.Exit(Exit.FAULT)
