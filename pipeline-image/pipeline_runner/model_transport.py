"""Chat completions over HTTP, in OpenAI's wire format, retried while that can help.

httpx is used directly: the package ``openai`` is 30 MB and takes 0.3 s to import, for one POST request.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from pipeline_runner.errors import ModelRefusedError, ModelUnavailableError
from pipeline_runner.http_clients import HttpSettingsError, client
from pipeline_runner.settings import ModelSettings
from pipeline_runner.text import encodable

ATTEMPTS = 5
MAX_WAIT_SECONDS = 60.0  # give up if the provider asks for more
CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_MAX_CODE_LENGTH = 60  # characters
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_ADDRESS = re.compile(r"https?://(?:[^\s/@]*@)?(?:\[[0-9a-fA-F:.]+\]|[^\s/@\[\]:]+)(?::\d{1,5})?(?:/\S*)?")


class _RetryableError(ModelUnavailableError):
    """A temporary error; `wait_seconds` is the provider's Retry-After."""

    wait_seconds: float | None = None


class Transport:
    """The connection to one provider; close it after use."""

    def __init__(self, settings: ModelSettings, say: Callable[[str], None]) -> None:
        """Report each retry through `say`.

        Raises:
            ModelRefusedError: The key or the URL is invalid.
        """
        if not _ADDRESS.fullmatch(settings.base_url):
            msg = "The model's base URL is invalid. Use a form like https://api.example.com/v1."
            raise ModelRefusedError(msg)
        if not (settings.key.isascii() and settings.key.isprintable()) or " " in settings.key:
            msg = f"The key in {settings.key_name} contains invalid characters. Correct it."
            raise ModelRefusedError(msg)
        self._settings = settings
        self._say = say
        self._deadline = 0.0
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def ask(self, question: Mapping[str, object]) -> dict[str, object]:
        """POST a chat completion and return the answer's JSON object.

        Raises:
            ModelRefusedError: The provider rejects the key, the model or the request.
            ModelUnavailableError: No usable answer within the allowed attempts and time.
        """
        self._deadline = time.monotonic() + self._settings.timeout_seconds
        try:
            self._client = self._client or self._open()
        except HttpSettingsError as exc:
            raise ModelUnavailableError(str(exc)) from None
        retrying = Retrying(
            retry=retry_if_exception_type(_RetryableError),
            wait=self._wait,
            stop=self._should_stop,
            before_sleep=self._announce,
            reraise=True,
        )
        return retrying(self._once, self._client, question)

    def _open(self) -> httpx.Client:
        return client(
            headers={"Authorization": f"Bearer {self._settings.key}", "User-Agent": "slipway-pipeline"},
            timeout=httpx.Timeout(self._settings.timeout_seconds, connect=CONNECT_SECONDS),
            follow_redirects=False,  # the key is sent to the configured URL only
        )

    def _wait(self, state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        if isinstance(fault, _RetryableError) and fault.wait_seconds is not None:
            return fault.wait_seconds
        return wait_random_exponential(multiplier=0.5, max=20)(state)

    def _should_stop(self, state: RetryCallState) -> bool:
        wait = state.upcoming_sleep
        return state.attempt_number >= ATTEMPTS or wait > MAX_WAIT_SECONDS or time.monotonic() + wait > self._deadline

    def _announce(self, state: RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        self._say(f"{fault} Retrying in {state.upcoming_sleep:.1f} s ({state.attempt_number} of {ATTEMPTS}).")

    def _once(self, connection: httpx.Client, question: Mapping[str, object]) -> dict[str, object]:
        try:
            with connection.stream("POST", f"{self._settings.base_url}/chat/completions", json=question) as response:
                body = self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            msg = f"The model at {self._settings.host} is unreachable: {type(exc).__name__}."
            raise _RetryableError(msg) from exc
        answer = _json_object(body)
        if response.status_code != httpx.codes.OK:
            raise self._error_of(response, answer or {})
        if answer is None:
            msg = f"The model at {self._settings.host} did not return JSON."
            raise _RetryableError(msg)
        return answer

    def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > self._deadline:
                msg = f"The model at {self._settings.host} returned too large or too slow an answer."
                raise ModelUnavailableError(msg)
        return bytes(body)

    def _error_of(self, response: httpx.Response, answer: Mapping[str, object]) -> Exception:
        status, host = response.status_code, self._settings.host
        error = answer.get("error")
        details = error if isinstance(error, dict) else {}
        code = str(details.get("code") or details.get("type") or "")[:_MAX_CODE_LENGTH]
        if status == httpx.codes.PAYMENT_REQUIRED or not _QUOTA_CODES.isdisjoint({code, str(details.get("type"))}):
            return ModelUnavailableError(f"The quota at {host} is used up. Add credit there, or set another key.")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return ModelRefusedError(f"{host} rejected the key in {self._settings.key_name} ({status}). Correct it.")
        if status == httpx.codes.NOT_FOUND or code == "model_not_found":
            return ModelRefusedError(
                f"{host} has no model {self._settings.model!r} ({status}). Correct MODEL, the profile's model, "
                "or the base URL."
            )
        if status in _RETRYABLE or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            fault = _RetryableError(f"The model at {host} answered {status}.")
            fault.wait_seconds = _retry_after(response.headers)
            return fault
        return ModelRefusedError(f"The model at {host} rejected the request ({status} {code}).".replace(" )", ")"))


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        found = encodable(json.loads(body))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``, in seconds or as a date."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if seconds == seconds else None  # NaN
