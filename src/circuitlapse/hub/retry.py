"""When to retry a request to the hub, and clear messages for requests that fail."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from circuitlapse.errors import HubError
from circuitlapse.redaction import redact
from circuitlapse.settings.suite import Checkpoints

LOG = logging.getLogger(__name__)
TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)
CONNECTION_ERRORS = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
"""Errors of a connection that may work the next time."""
LONGEST_RETRY_AFTER_S = 900.0
"""A request fails at once if the hub asks to wait longer than this."""
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", re.ASCII
)
TOKEN_ADVICE = "set a token with access (HF_TOKEN, or `hf auth login`)"


class AnswerError(ValueError):
    """An answer that cannot be that of a hub; the message says what was found."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often to retry a request, and how long to wait in between.

    Attributes:
        attempts: number of attempts in a row that may fail.
        first_wait_s: seconds before the second attempt. Each later wait is twice as long, plus
            up to `first_wait_s` at random. If the hub says how long to wait, that is used instead.
        longest_wait_s: upper limit on these waits, in seconds, before the random part.
        slowest_kb_s: rate below which an attempt has failed, in kB (1000 bytes) per second.
        window_s: seconds over which the rate is measured.
        longest_hours: after so many hours, a file that is not complete is an error.
    """

    attempts: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    slowest_kb_s: float = 50.0
    window_s: float = 60.0
    longest_hours: float = 12.0

    @classmethod
    def configured(cls, config: Mapping[str, Any]) -> RetryPolicy:
        """Return the usual policy, with the limits in the section `checkpoints` of a run.

        Scripts take it from the configuration of Snakemake: as a parameter of a rule, a change
        would fetch everything again.
        """
        usual, section = Checkpoints(), config.get("checkpoints") or {}
        # --config leaves numbers in a section as text
        return cls(
            slowest_kb_s=float(section.get("slowest_kb_s", usual.slowest_kb_s)),
            longest_hours=float(section.get("longest_hours", usual.longest_hours)),
        )

    def retrying(self, what: str) -> Retrying:
        """Return a caller of functions that retries transient errors and logs each retry."""
        # the random part keeps jobs that failed together from retrying together
        backoff = wait_exponential(self.first_wait_s, self.longest_wait_s) + wait_random(
            0, self.first_wait_s
        )

        def wait(state: RetryCallState) -> float:
            seconds = retry_after_s(_error_of(state))
            return backoff(state) if seconds is None else seconds

        def log_retry(state: RetryCallState) -> None:
            seconds = state.next_action.sleep if state.next_action else 0.0
            attempt = f"attempt {state.attempt_number} of {self.attempts} failed"
            LOG.info(
                "%s: %s (%s); retrying in %.1f s",
                what,
                attempt,
                describe(_error_of(state)),
                seconds,
            )

        return Retrying(
            retry=retry_if_exception(is_transient),
            wait=wait,
            stop=stop_after_attempt(self.attempts),
            before_sleep=log_retry,
            reraise=True,
        )


def _error_of(state: RetryCallState) -> Exception:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Exception), "tenacity asks about failures only"
    return error


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may work later."""
    if isinstance(error, HfHubHTTPError):
        seconds = retry_after_s(error) or 0.0
        return error.response.status_code in TRANSIENT_STATUS and seconds <= LONGEST_RETRY_AFTER_S
    return isinstance(error, CONNECTION_ERRORS)


def retry_after_s(error: Exception) -> float | None:
    """Return the seconds that the hub asks to wait, if it does.

    It can send `Retry-After`, in whole seconds or as a date (RFC 9110), or a `RateLimit` header.
    Anything else is ignored.
    """
    if not isinstance(error, HfHubHTTPError):
        return None
    headers = error.response.headers
    after = headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]+", after):
        return float(after)
    with suppress(ValueError):  # more digits than Python converts
        limit = parse_ratelimit_headers(headers)
        if error.response.status_code == 429 and limit is not None and limit.remaining == 0:
            return float(limit.reset_in_seconds)
    if not _HTTP_DATE.fullmatch(after):
        return None
    try:
        when = parsedate_to_datetime(after)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (when.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())


@contextmanager
def readable_errors(repo: str, revision: str) -> Iterator[None]:
    """Turn the errors of a request to the hub into a HubError with a one-line message."""
    try:
        yield
    except HFValidationError:
        raise invalid_repo(repo) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HubError(f"{repo} at {revision}: {_reason(error, repo)}") from None
    except AnswerError as error:
        raise HubError(f"{repo} at {revision}: from {host()}: {error}") from None


@contextmanager
def readable_parse_errors(repo: str, revision: str) -> Iterator[None]:
    """Turn the errors of parsing an answer that does not come from a hub into a HubError."""
    try:
        yield
    except HFValidationError:
        raise
    except (ValueError, LookupError, TypeError) as error:
        found = error if isinstance(error, AnswerError) else type(error).__name__
        raise HubError(
            f"{repo} at {revision}: the answer of {host()} is not that of a hub "
            f"({found}); check HF_ENDPOINT, and whether a proxy asks for a login"
        ) from None


def _reason(error: Exception, repo: str) -> str:
    if isinstance(error, GatedRepoError):
        return f"gated on {host()}; accept its terms there, and {TOKEN_ADVICE}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{host()} has no public model {repo}; check the name, or {TOKEN_ADVICE}"
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code in (401, 403):
            return f"{host()} denies access ({describe(error)}); {TOKEN_ADVICE}"
        return f"cannot be fetched from {host()} ({describe(error)})"
    return (
        f"{host()} cannot be reached ({describe(error)}); set HF_HUB_OFFLINE=1 to use only the hub "
        "cache"
    )


def describe(error: Exception) -> str:
    """Return a short description of an error, without addresses, which may be signed."""
    if isinstance(error, HfHubHTTPError):
        response = error.response
        after = response.headers.get("Retry-After")
        wait = f", Retry-After: {redact(after)}" if after else ""
        return f"HTTP {response.status_code} {response.reason_phrase}".strip() + wait
    text = redact(str(error).partition("\n")[0])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def host() -> str:
    """Return the host of the hub in use, without the credentials in its address."""
    address = urlsplit(constants.ENDPOINT)
    return f"{address.hostname}:{address.port}" if address.port else str(address.hostname)


def invalid_repo(repo: str) -> HubError:
    """Return the error for a name that no model on the hub can have."""
    found = redact(repr(repo))
    return HubError(f"invalid name of a hub model: expected OWNER/NAME, found {found}")
