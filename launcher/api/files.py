"""Responses with an open artifact: complete or a range, conditional, and never longer than announced."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from mimetypes import guess_type
from pathlib import PurePosixPath
from urllib.parse import quote

from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from launcher.api import problems
from launcher.artifacts.file import ArtifactFile

_BLOCK = 128 << 10
_HEADERS = {  # a pipeline's file is untrusted: no browser may run it as one of our pages
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}
_MEDIA_TYPES = {".md": "text/markdown; charset=utf-8", ".txt": "text/plain; charset=utf-8"}
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,99})-([0-9]{0,99})[ \t]*", re.IGNORECASE)
log = logging.getLogger(__name__)


class AnyPath(PathConvertor):
    """The rest of a path, including line breaks, which file names may contain."""

    regex = r"[\s\S]*"


register_url_convertor("anypath", AnyPath())


class ArtifactResponse(StreamingResponse):
    """Sends an open file and closes it in every case.

    A single range is honoured; for several, the complete file is sent (RFC 9110, 14.2). If the file shrinks while it is
    sent, the connection is closed, so that the client does not mistake the beginning for the complete file.
    """

    media_type = None

    def __init__(self, file: ArtifactFile) -> None:
        self._file, self._part, self._with_body = file, range(file.size), True
        self._last_modified = formatdate(min(max(file.modified, 0), time.time()), usegmt=True)  # a run can set it
        media_type = _MEDIA_TYPES.get(PurePosixPath(file.name).suffix) or guess_type(file.name)[0]
        super().__init__(self._blocks(), media_type=media_type or "application/octet-stream", headers=_HEADERS)
        self.headers["ETag"] = file.etag
        self.headers["Last-Modified"] = self._last_modified
        self.headers["Content-Disposition"] = content_disposition(file.name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI)."""
        try:
            headers, size = Headers(scope=scope), self._file.size
            self._with_body = scope["method"] != "HEAD"
            if etag_matches(headers.get("if-none-match", ""), self._file.etag):
                self.status_code, self._with_body = 304, False
            elif self._with_body and self._range_applies(headers.get("if-range")):
                part = requested_range(headers.get("range", ""), size)
                if part is not None and not part:
                    text = f"The file has {size} bytes; the Range header requests none of them."
                    refusal = problems.response(problems.problem(416, text), {"Content-Range": f"bytes */{size}"})
                    await refusal(scope, receive, send)
                    return
                if part:
                    self._part, self.status_code = part, 206
                    self.headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{size}"
            if self.status_code != 304:
                self.headers["Content-Length"] = str(len(self._part))
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()

    async def stream_response(self, send: Send) -> None:
        """Send headers and body. If the body's last message is missing, the server closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        left = len(self._part) if self._with_body else 0
        if left:
            async for block in self.body_iterator:
                assert isinstance(block, bytes)
                left -= len(block)
                await send({"type": "http.response.body", "body": block, "more_body": True})
        if left == 0:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _blocks(self) -> AsyncIterator[bytes]:
        at, end = self._part.start, self._part.stop
        while at < end:
            try:
                block = await self._file.read(at, min(_BLOCK, end - at))
            except OSError as exc:
                log.warning("cannot read an artifact to its end: %s", exc)
                return
            if not block:
                return
            yield block
            at += len(block)

    def _range_applies(self, condition: str | None) -> bool:
        """Whether a range may be sent: only if the file is the one that the client has a part of (If-Range)."""
        if condition is None or condition == self._file.etag:
            return True
        return condition == self._last_modified and time.time() - self._file.modified > 1


def requested_range(header: str, size: int) -> range | None:
    """Return the bytes that a Range header requests; an empty range if the file has none of them.

    Returns None, for the complete file, if the header is missing or not valid, has several ranges or another unit.
    """
    if not (found := _RANGE.fullmatch(header)):
        return None
    first, last = found.groups()
    if first:
        if last and int(last) < int(first):
            return None
        return range(int(first), min(int(last) + 1, size) if last else size)
    if not last or (size == 0 and int(last)):
        return None
    return range(size - min(int(last), size), size)


def etag_matches(condition: str, etag: str) -> bool:
    """Whether an If-None-Match header matches the current file."""
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return etag in tags or tags == ["*"]


def content_disposition(name: str) -> str:
    """Return the header that makes a browser save a file under its name, which can be any text."""
    quoted = quote(name)
    return f'attachment; filename="{name}"' if quoted == name else f"attachment; filename*=utf-8''{quoted}"
