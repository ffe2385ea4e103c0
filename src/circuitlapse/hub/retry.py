"""When to ask a hub again, and when to give up."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from circuitlapse.hub.refusals import described

LOG = logging.getLogger(__name__)
PASSING_STATUS = (408, 429, 500, 502, 503, 504)
LOST = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
"""Errors of a connection that may work the next time."""
LONGEST_TOLD_WAIT_S = 900.0
"""A hub that asks for more is not waited for."""


@dataclass(frozen=True)
class Patience:
    """How long to go on.

    Attributes:
        attempts: how often to ask, as long as nothing new comes.
        first_wait_s: seconds before the second attempt; each later wait is twice as long, and
            up to `first_wait_s` more at random. When the hub says how long to wait, that counts.
        longest_wait_s: longest of these waits, in seconds.
    """

    attempts: int = 8
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0

    def retrying(self, what: str) -> Retrying:
        """Return what calls a function again after an error that may pass, and logs that."""
        # many jobs that were refused together must not come back together
        backoff = wait_exponential(self.first_wait_s, self.longest_wait_s) + wait_random(
            0, self.first_wait_s
        )

        def wait(state: RetryCallState) -> float:
            told = told_wait_s(_error_of(state))
            return backoff(state) if told is None else told

        def say(state: RetryCallState) -> None:
            pause = state.next_action.sleep if state.next_action else 0.0
            attempt = f"attempt {state.attempt_number} of {self.attempts}"
            why = described(_error_of(state))
            LOG.info("%s: %s in %s; again in %.1f s", what, why, attempt, pause)

        return Retrying(
            retry=retry_if_exception(may_pass),
            wait=wait,
            stop=stop_after_attempt(self.attempts),
            before_sleep=say,
            reraise=True,
        )


def _error_of(state: RetryCallState) -> Exception:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Exception), "tenacity asks about failures only"
    return error


def may_pass(error: BaseException) -> bool:
    """Return whether the same request may work later."""
    if isinstance(error, HfHubHTTPError):
        told = told_wait_s(error) or 0.0
        return error.response.status_code in PASSING_STATUS and told <= LONGEST_TOLD_WAIT_S
    return isinstance(error, LOST)


def told_wait_s(error: Exception) -> float | None:
    """Return the seconds that a hub asks to wait (RFC 9110, Retry-After; RateLimit), if any."""
    if not isinstance(error, HfHubHTTPError):
        return None
    headers = error.response.headers
    after = headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    limit = parse_ratelimit_headers(headers)
    if error.response.status_code == 429 and limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    try:
        when = parsedate_to_datetime(after)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())
