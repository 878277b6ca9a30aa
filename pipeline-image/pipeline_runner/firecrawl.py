"""A client of Firecrawl's search API, version 2: pages with their text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_exponential

from pipeline_runner.http_clients import HttpSettingsError, client
from pipeline_runner.text import encodable

ATTEMPTS = 3
REQUEST_SECONDS = 30.0
TOTAL_SECONDS = 60.0
ANSWER_BYTES = 8 << 20
_REASONS = {
    401: "rejected the key",
    402: "reports that the quota is used up",
    403: "rejected the key",
    429: "reports too many requests",
}


class FirecrawlError(Exception):
    """Firecrawl returned no usable result; the message is a sentence for people without the key."""


@dataclass(frozen=True)
class FoundPage:
    """A search result."""

    url: str
    title: str
    #: Markdown, or the result's description if the page could not be read.
    text: str


class Firecrawl:
    """A client of the API at `base_url`."""

    def __init__(self, base_url: str, key: str, *, wait_seconds: float = 1.0) -> None:
        """Wait `wait_seconds` before the second attempt, and twice as long before the third."""
        self._url, self._key, self._wait = base_url.rstrip("/"), key, wait_seconds

    def search(self, query: str, *, limit: int) -> list[FoundPage]:
        """Search the web and fetch the results.

        Raises:
            FirecrawlError: It does not respond, rejects the request, or returns something else.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_worth_another_attempt),
            stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(TOTAL_SECONDS),
            wait=wait_exponential(self._wait, max=10),
            reraise=True,
        )
        try:
            answer = retrying(self._post, {"query": query, "limit": limit, "scrapeOptions": {"formats": ["markdown"]}})
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            msg = f"Firecrawl {_REASONS.get(status, f'answered {status}')}."
            raise FirecrawlError(msg) from None  # its request contains the key
        except HttpSettingsError as error:
            raise FirecrawlError(str(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            msg = "Firecrawl is unreachable."
            raise FirecrawlError(msg) from None
        except (ValueError, RecursionError):
            msg = "Firecrawl returned an invalid response."
            raise FirecrawlError(msg) from None
        return answer[:limit]

    def _post(self, body: dict[str, Any]) -> list[FoundPage]:
        headers = {"Authorization": f"Bearer {self._key}"}
        url = f"{self._url}/v2/search"
        with (
            client(timeout=REQUEST_SECONDS) as connection,
            connection.stream("POST", url, json=body, headers=headers) as response,
        ):
            response.raise_for_status()
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > ANSWER_BYTES:
                    raise ValueError
            return _pages(encodable(json.loads(content)))


def _pages(answer: Any) -> list[FoundPage]:
    try:
        found = answer["data"]["web"]
        return [
            FoundPage(
                str(page["url"]),
                str(page.get("title") or ""),
                str(page.get("markdown") or page.get("description") or ""),
            )
            for page in found
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError from error


def _is_worth_another_attempt(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
