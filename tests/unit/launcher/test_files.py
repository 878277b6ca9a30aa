"""Responses with an open file: exact, whatever the client requests and whatever happens to the file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from launcher.api.files import ArtifactResponse, content_disposition, etag_matches, requested_range
from launcher.artifacts.file import ArtifactFile

TEXT = bytes(range(256)) * 4


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "CV.md"
    path.write_bytes(TEXT)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


class Exchange:
    """A request, its response, and the state of the file."""

    def __init__(self, file: ArtifactFile, method: str = "GET", **headers: str) -> None:
        self.file = file
        names = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        self.scope = {"type": "http", "method": method, "headers": list(names.items()), "asgi": {"spec_version": "2.3"}}
        self.messages: list[Any] = []
        self.disconnected = asyncio.Event()

    async def send(self, message: Any) -> None:
        self.messages.append(message)
        await asyncio.sleep(0)

    async def receive(self) -> Any:
        await self.disconnected.wait()
        return {"type": "http.disconnect"}

    def answered(self) -> Exchange:
        async def answer() -> None:
            async with asyncio.timeout(10):
                await ArtifactResponse(self.file)(self.scope, self.receive, self.send)

        asyncio.run(answer())
        return self

    @property
    def status(self) -> int:
        status: int = self.messages[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        last = self.messages[-1]
        return last["type"] == "http.response.body" and not last.get("more_body", False)


def opened(path: Path, readers: ThreadPoolExecutor, name: str = "CV.md") -> ArtifactFile:
    return ArtifactFile(os.open(path, os.O_RDONLY), name, readers)


def closed(file: ArtifactFile) -> bool:
    return file._file.closed


def test_complete_file_is_sent_with_headers_and_closed(path: Path, readers: ThreadPoolExecutor) -> None:
    exchange = Exchange(opened(path, readers)).answered()
    assert (exchange.status, exchange.body, exchange.complete) == (200, TEXT, True)
    assert exchange.headers == {
        "content-type": "text/markdown; charset=utf-8",
        "content-length": "1024",
        "content-disposition": 'attachment; filename="CV.md"',
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "private, no-cache",
        "accept-ranges": "bytes",
        "etag": exchange.file.etag,
        "last-modified": "Sun, 09 Sep 2001 01:46:40 GMT",
    }
    assert closed(exchange.file)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-0", range(1)),
        ("bytes=2-4", range(2, 5)),
        ("BYTES= 2-4 ", range(2, 5)),
        ("bytes=2-", range(2, 10)),
        ("bytes=2-99999999999999999999999", range(2, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("bytes=10-", range(0)),
        ("bytes=10-20", range(0)),
        ("bytes=99999999999999999999999-", range(0)),
        ("bytes=-0", range(0)),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=x", None),
        ("bytes=1", None),
        ("bytes=--1", None),
        ("bytes=١-٢", None),
        ("bytes=" + "9" * 60000 + "-", None),
        ("lines=1-2", None),
    ],
)
def test_range_header_selects_bytes(header: str, part: range | None) -> None:
    found = requested_range(header, 10)
    assert (found is None) == (part is None)
    assert list(found or []) == list(part or [])


@pytest.mark.parametrize(("header", "status"), [("bytes=0-", 416), ("bytes=-1", 200), ("", 200)])
def test_empty_file_has_no_range(path: Path, readers: ThreadPoolExecutor, header: str, status: int) -> None:
    path.write_bytes(b"")
    exchange = Exchange(opened(path, readers), range=header).answered()
    assert (exchange.status, exchange.complete) == (status, True)
    assert status == 416 or exchange.headers["content-length"] == "0"


def test_single_range_is_sent_and_unsatisfiable_range_is_a_problem(path: Path, readers: ThreadPoolExecutor) -> None:
    part = Exchange(opened(path, readers), range="bytes=100-299").answered()
    assert (part.status, part.body, part.headers["content-length"]) == (206, TEXT[100:300], "200")
    assert part.headers["content-range"] == "bytes 100-299/1024"
    none = Exchange(opened(path, readers), range="bytes=1024-").answered()
    assert (none.status, none.headers["content-range"]) == (416, "bytes */1024")
    assert none.headers["content-type"] == "application/problem+json"
    several = Exchange(opened(path, readers), range="bytes=0-1,3-4").answered()
    assert (several.status, several.body) == (200, TEXT)
    assert closed(part.file) and closed(none.file) and closed(several.file)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{etag}", 206),
        ("W/{etag}", 200),
        ('"other"', 200),
        ("Sun, 09 Sep 2001 01:46:40 GMT", 206),
        ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
        ("yesterday", 200),
    ],
)
def test_if_range_sends_a_part_only_of_the_same_file(
    path: Path, readers: ThreadPoolExecutor, condition: str, status: int
) -> None:
    file = opened(path, readers)
    exchange = Exchange(file, range="bytes=0-0", if_range=condition.format(etag=file.etag)).answered()
    assert exchange.status == status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_unchanged_file_is_not_sent_again(path: Path, readers: ThreadPoolExecutor, method: str) -> None:
    file = opened(path, readers)
    exchange = Exchange(file, method, if_none_match=f'"a", W/{file.etag}', range="bytes=0-0").answered()
    assert (exchange.status, exchange.body, exchange.complete) == (304, b"", True)
    assert exchange.headers["etag"] == file.etag
    assert "content-length" not in exchange.headers
    assert closed(file)


def test_if_none_match_matches_the_etag_or_any() -> None:
    assert (
        etag_matches('"1"', '"1"')
        and etag_matches('W/"1"', '"1"')
        and etag_matches('"0", "1"', '"1"')
        and etag_matches(" * ", '"1"')
    )
    assert not etag_matches("", '"1"') and not etag_matches('"1', '"1"') and not etag_matches('"2"', '"1"')


def test_head_is_answered_like_get_without_the_body(path: Path, readers: ThreadPoolExecutor) -> None:
    head = Exchange(opened(path, readers), "HEAD", range="bytes=0-0").answered()
    get = Exchange(opened(path, readers)).answered()
    assert (head.status, head.body, head.headers, head.complete) == (200, b"", get.headers, True)
    assert closed(head.file)


def test_changed_file_has_a_different_etag_even_if_its_mtime_is_reset(path: Path, readers: ThreadPoolExecutor) -> None:
    before = opened(path, readers)
    path.write_bytes(TEXT[::-1])
    os.utime(path, (1_000_000_000, 1_000_000_000))
    after = opened(path, readers)
    assert (before.size, before.modified) == (after.size, after.modified)
    assert before.etag != after.etag
    before.close()
    after.close()


def test_file_that_shrinks_while_it_is_sent_closes_the_connection(path: Path, readers: ThreadPoolExecutor) -> None:
    file = opened(path, readers)
    os.truncate(path, 1000)
    exchange = Exchange(file).answered()
    assert (exchange.headers["content-length"], len(exchange.body)) == ("1024", 1000)
    assert not exchange.complete
    assert closed(file)


def test_read_error_closes_the_connection(
    path: Path, readers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    exchange = Exchange(opened(path, readers)).answered()
    assert (exchange.body, exchange.complete) == (b"", False)
    assert closed(exchange.file)


def test_growing_file_is_sent_only_up_to_its_announced_size(path: Path, readers: ThreadPoolExecutor) -> None:
    file = opened(path, readers)
    with path.open("ab") as more:
        more.write(TEXT)
    exchange = Exchange(file).answered()
    assert (exchange.headers["content-length"], exchange.body, exchange.complete) == ("1024", TEXT, True)


def test_disconnect_stops_reading(path: Path, readers: ThreadPoolExecutor) -> None:
    os.truncate(path, 1 << 40)

    async def scenario() -> None:
        file = opened(path, readers)
        exchange = Exchange(file)
        answer = asyncio.create_task(ArtifactResponse(file)(exchange.scope, exchange.receive, exchange.send))
        async with asyncio.timeout(10):
            while len(exchange.messages) < 3:
                await asyncio.sleep(0.001)
            exchange.disconnected.set()
            await answer
            while not closed(file):
                await asyncio.sleep(0.001)
        assert not exchange.complete

    asyncio.run(scenario())


def test_failed_or_cancelled_response_closes_its_file(path: Path, readers: ThreadPoolExecutor) -> None:
    async def broken(message: Any) -> None:
        raise ConnectionResetError

    async def scenario() -> None:
        for send in (broken, None):
            file = opened(path, readers)
            exchange = Exchange(file)
            answer = asyncio.create_task(
                ArtifactResponse(file)(exchange.scope, exchange.receive, send or exchange.send)
            )
            if send is None:
                await asyncio.sleep(0)
                answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            async with asyncio.timeout(10):
                while not closed(file):
                    await asyncio.sleep(0.001)

    asyncio.run(scenario())


@pytest.mark.parametrize("modified", [-5.0, 2.0**40, 1.5])
def test_last_modified_is_never_in_the_future(path: Path, readers: ThreadPoolExecutor, modified: float) -> None:
    file = opened(path, readers)
    file.modified = modified
    exchange = Exchange(file).answered()
    assert 1970 <= parsedate_to_datetime(exchange.headers["last-modified"]).year <= 9999


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("cover_letter.txt", "text/plain; charset=utf-8"),
        ("CV.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("page.html", "text/html; charset=utf-8"),
        ("unknown", "application/octet-stream"),
        ("new\nline.txt", "text/plain; charset=utf-8"),
    ],
)
def test_media_type_follows_the_name(path: Path, readers: ThreadPoolExecutor, name: str, media_type: str) -> None:
    assert Exchange(opened(path, readers, name)).answered().headers["content-type"] == media_type


@pytest.mark.parametrize(
    "name",
    ["new\nline.txt", 'a"b.txt', "a\r\nSet-Cookie: x=1", "Über.txt", "a;b.txt", "a'b", "\\xfc", "a b", "🚢"],
)
def test_file_name_cannot_inject_a_header(path: Path, readers: ThreadPoolExecutor, name: str) -> None:
    exchange = Exchange(opened(path, readers, name)).answered()
    disposition = exchange.headers["content-disposition"]
    assert disposition == content_disposition(name)
    assert disposition.startswith("attachment; filename*=utf-8''")
    assert disposition.isascii() and disposition.isprintable()
    assert not set('"; ') & set(disposition.removeprefix("attachment; filename*=utf-8''"))
