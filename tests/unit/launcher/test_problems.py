"""Disk errors become problem responses that a client can act on."""

from __future__ import annotations

import asyncio
import errno
import json
import os

import pytest
from fastapi import FastAPI, Request

from launcher.api import problems


async def respond(code: int) -> tuple[int, str]:
    response = await problems._disk(Request({"type": "http", "app": FastAPI()}), OSError(code, os.strerror(code)))
    return response.status_code, json.loads(bytes(response.body))["detail"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EISDIR, errno.ENOTDIR])
def test_a_disk_that_fails_is_a_503_with_its_reason(code: int) -> None:
    status, detail = asyncio.run(respond(code))
    assert status == 503
    assert os.strerror(code) in detail
