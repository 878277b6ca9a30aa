"""The commands. What costs time to import is imported where it is used: --help answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from launcher.cli.client import Client, Run

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Launch pipeline runs and follow them. RUNNER_URL and RUNNER_API_SECRET name the launcher.",
)
artifacts = typer.Typer(no_args_is_help=True, help="What a run made.")
cli.add_typer(artifacts, name="artifacts")

AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
Reference = Annotated[str | None, typer.Argument(metavar="RUN", help="Run id, or its beginning.")]
JobOption = Annotated[str | None, typer.Option("--job-id", help="The newest run of this work item.")]
Profile = Annotated[str | None, typer.Option(help="The pipeline's profile.")]
PipelineName = Annotated[str | None, typer.Option(help="A configured pipeline; not given: default.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="For the pipeline; repeatable.")
]
Priority = Annotated[int, typer.Option(help="-100 to 100; higher goes first.")]
Timeout = Annotated[int | None, typer.Option(help="Seconds, from the pipeline's start.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key: repeated, it makes no second run.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Follow it; the exit code is the run's.")]


def _client() -> Client:
    from launcher.cli.client import Client

    return Client.from_environment()


def _follow(client: Client, run: Run, as_json: bool, *, after: int = 0, owner: bool) -> None:
    from launcher.cli.follow import JsonDisplay, follow

    if as_json:
        raise typer.Exit(follow(client, run["run_id"], JsonDisplay(), after=after, owner=owner))
    from launcher.cli.display import TextDisplay

    raise typer.Exit(follow(client, run["run_id"], TextDisplay(), after=after, owner=owner))


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
            raise Failure(f"--param {param}: write NAME=VALUE.")
        values[name] = value
    found = {"profile_ref": profile, "pipeline": pipeline, "timeout_seconds": timeout, "priority": priority}
    return {name: value for name, value in found.items() if value is not None} | {"params": values}


def _launch(client: Client, body: dict[str, Any], key: str | None) -> Run:
    import secrets

    headers = {"Idempotency-Key": key or secrets.token_hex(16)}
    return client.call("POST", "/jobs/run", json=body, headers=headers)


@cli.command()
def run(
    job_id: Annotated[str, typer.Argument(help="The work item.")],
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
    launched = _launch(client, {"job_id": job_id, **_options(profile, pipeline, param, priority, timeout)}, key)
    if follow:
        _follow(client, launched, as_json, owner=True)
    _show(launched, as_json)


@cli.command("run-bulk")
def run_bulk(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="[JOB_ID]...", help="The work items.")] = None,
    file: Annotated[str | None, typer.Option("--file", "-F", help="One work item a line; - reads stdin.")] = None,
    profile: Profile = None,
    pipeline: PipelineName = None,
    param: Params = None,
    priority: Priority = 0,
    timeout: Timeout = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Launch a run for each of many work items; repeated with the same --key, it does the rest."""
    from launcher.cli import output

    wanted = [*(job_ids or []), *(_lines_of(file) if file else [])]
    if not wanted:
        raise Failure("Which work items? Name them, or give --file (- reads stdin).")
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
        raise Failure(f"--file {file} cannot be read: {exc}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


@cli.command()
def ps(
    job_id: JobOption = None,
    status: Annotated[str | None, typer.Option(help="queued, running, completed, failed or cancelled.")] = None,
    pipeline: PipelineName = None,
    page: Annotated[int, typer.Option(min=1)] = 1,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Runs a page.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    from launcher.cli import output

    wanted = {"job_id": job_id, "status": status, "pipeline": pipeline, "page": page, "per_page": limit}
    found = _client().call("GET", "/jobs", params={name: value for name, value in wanted.items() if value is not None})
    if as_json:
        output.document(found)
        return
    for each in found["runs"]:
        output.say(output.run_lines(each)[0])
    output.note(f"{len(found['runs'])} of {found['total']} runs")


@cli.command()
def status(reference: Reference = None, job_id: JobOption = None, as_json: AsJson = False) -> None:
    """Tell how a run stands."""
    _show(_client().run(reference, job_id), as_json)


@cli.command()
def logs(
    reference: Reference = None,
    job_id: JobOption = None,
    follow: Follow = False,
    after: Annotated[int, typer.Option(min=0, help="With -f: only lines with higher numbers.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a run's log; -f follows it."""
    from launcher.cli import output

    client = _client()
    found = client.run(reference, job_id)
    if follow:
        _follow(client, found, as_json, after=after, owner=False)
    body = client.download(f"/jobs/{found['run_id']}/log")
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
def cancel(reference: Reference = None, job_id: JobOption = None, as_json: AsJson = False) -> None:
    """Ask that a run ends."""
    client = _client()
    found = client.run(reference, job_id)
    _show(client.call("DELETE", f"/jobs/{found['run_id']}"), as_json)


@cli.command()
def retry(
    reference: Reference = None,
    job_id: JobOption = None,
    key: Key = None,
    follow: Follow = False,
    as_json: AsJson = False,
) -> None:
    """Launch a run again: same work item, profile, pipeline, params, priority and timeout."""
    client = _client()
    found = client.run(reference, job_id)
    again = _launch(client, client.call("GET", f"/jobs/{found['run_id']}/request"), key)
    if follow:
        _follow(client, again, as_json, owner=True)
    _show(again, as_json)


@artifacts.command("list")
def artifacts_list(reference: Reference = None, job_id: JobOption = None, as_json: AsJson = False) -> None:
    """List a run's artifacts."""
    from launcher.cli import output

    found = _client().run(reference, job_id)
    if as_json:
        output.document({"run_id": found["run_id"], "artifacts": found["artifacts"]})
        return
    for url in found["artifacts"].values():
        output.say(_name_of(url))
    if not found["artifacts"]:
        output.note(f"The run has none; it is {found['status']}.")


@artifacts.command("get")
def artifacts_get(
    reference: Annotated[str, typer.Argument(metavar="RUN", help="Run id, or its beginning.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="Not given: all.")] = None,
    to: Annotated[Path, typer.Option("--to", "-o", help="Folder to write into.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Download a run's artifacts; each file appears whole or not at all."""
    from launcher.cli import output

    client = _client()
    found = client.run(reference)
    urls = {_name_of(url): url for url in found["artifacts"].values()}
    if missing := [name for name in names or [] if name not in urls]:
        raise Failure(f"The run has no artifact {', '.join(missing)}; it has {', '.join(urls) or 'none'}.")
    if not urls:
        raise Failure(f"The run has no artifacts; it is {found['status']}.")
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
            raise Failure(f"{path} cannot be written: {exc.strerror}") from None
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
    scope: Annotated[list[str] | None, typer.Option(help="run, read, cancel or admin; repeatable. [read]")] = None,
    subject: Annotated[str, typer.Option(help="Who it is for; shows in limits and logs.")] = "command-line",
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="How long it is valid.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Make a token that may do only what its scopes say; signed here, with RUNNER_API_SECRET."""
    from launcher.api.auth import Authenticator, Scope
    from launcher.cli import output
    from launcher.domain.setting_rules import Unusable, usable

    secret = os.environ.get("RUNNER_API_SECRET")
    if not secret:
        raise Failure("RUNNER_API_SECRET is not set: a token is signed with the launcher's own secret.")
    try:
        usable("RUNNER_API_SECRET", secret)
    except Unusable as exc:
        raise Failure(f"{exc}.") from None
    if secret.startswith("eyJ") and secret.count(".") == 2:
        raise Failure("RUNNER_API_SECRET holds a token; only the launcher's own secret can sign another.")
    try:
        scopes = [Scope(name) for name in scope or ["read"]]
    except ValueError as exc:
        raise Failure(f"--scope: {exc}; there are {', '.join(Scope)}.") from None
    seconds = round(hours * 3600)
    text = Authenticator([secret]).token(subject, scopes, seconds=seconds)
    if as_json:
        output.document({"token": text, "scopes": scopes, "subject": subject, "expires_in_seconds": seconds})
    else:
        output.say(text)


@cli.command()
def pause(as_json: AsJson = False) -> None:
    """Start no more runs; what runs goes on."""
    _switch("pause", "The queue is paused.", as_json)


@cli.command()
def resume(as_json: AsJson = False) -> None:
    """Start runs again."""
    _switch("resume", "The queue goes on.", as_json)


def _switch(name: str, sentence: str, as_json: bool) -> None:
    from launcher.cli import output

    answer = _client().call("POST", f"/queue/{name}")
    if as_json:
        output.document(answer)
    else:
        output.say(sentence)


@cli.command()
def doctor(as_json: AsJson = False) -> None:
    """Find what is wrong between here and the cluster, and say how to mend it."""
    from launcher.cli import output
    from launcher.cli.doctor import examine

    findings = examine()
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
        for each in findings:
            output.say(f"{each.state:4}  {each.check}: {each.found}")
            if each.do:
                output.say(f"      {each.do}")
    if any(each.state == "fail" for each in findings):
        raise typer.Exit(Exit.FAULT)
