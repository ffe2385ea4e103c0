"""When to ask a hub again, and when to give up."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_token
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

TOKEN = "give a token that may read it (HF_TOKEN, or `hf auth login`)"
N_NEAREST = 3


def host() -> str:
    """Return the host of the hub in use; never the credentials in its address."""
    address = urlsplit(constants.ENDPOINT)
    return f"{address.hostname}:{address.port}" if address.port else str(address.hostname)


def redacted(text: str) -> str:
    """Return `text` without the token in use and without credentials or queries in addresses.

    The query of a signed address lets anyone read what is there.
    """
    text = re.sub(r"://[^/\s@]*@", "://", text)
    text = re.sub(r"(://[^\s?]*)\?[^\s'\")>]*", r"\1", text)
    token = get_token()
    return text.replace(token, "***") if token else text


def described(error: Exception) -> str:
    """Return in few words what went wrong; no address, which may be signed."""
    if isinstance(error, HfHubHTTPError):
        answer = error.response
        after = answer.headers.get("Retry-After")
        told = f", to be asked again after {redacted(after)}" if after else ""
        return f"HTTP {answer.status_code} {answer.reason_phrase}".strip() + told
    text = redacted(str(error).partition("\n")[0])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def clear_refusals(repo: str, revision: str) -> Iterator[None]:
    """Turn what the hub client raises into a HubError with one message and no traceback."""
    try:
        yield
    except HFValidationError:
        raise bad_name(repo) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HubError(f"{repo} at {revision}: {_why(error, repo)}") from None


@contextmanager
def clear_answers(repo: str, revision: str) -> Iterator[None]:
    """Turn what reading an answer raises that is no JSON, or not a hub's, into a HubError."""
    try:
        yield
    except HFValidationError:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise HubError(
            f"{repo} at {revision}: {host()} does not answer like a hub ({type(error).__name__}); "
            "check HF_ENDPOINT, and whether a proxy asks for a login"
        ) from None


def _why(error: Exception, repo: str) -> str:
    if isinstance(error, GatedRepoError):
        return f"gated on {host()}; accept its terms there, and {TOKEN}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{host()} has no model {repo}, or it is private; check the name, or {TOKEN}"
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code in (401, 403):
            return f"{host()} refuses access ({described(error)}); {TOKEN}"
        return f"cannot be fetched from {host()} ({described(error)})"
    return (
        f"{host()} cannot be reached ({described(error)}); with HF_HUB_OFFLINE=1 only the hub "
        "cache is used"
    )


def bad_name(repo: str) -> HubError:
    """Return the error for a name that no hub model can have."""
    return HubError(f"{repo!r} is no name of a hub model; expected OWNER/NAME")


def missing_revision(repo: str, revision: str, known: Collection[str]) -> HubError:
    """Return the error for a revision that the hub does not have; `known` are those it has."""
    return HubError(f"{repo}: no revision {revision!r} on {host()}; {nearest_of(revision, known)}")


def nearest_of(wanted: str, known: Collection[str]) -> str:
    """Return "nearest are ...": by training step if `wanted` has one, else by spelling."""
    step = _step(wanted)
    steps = [name for name in known if _step(name) is not None]
    if step is not None and steps:
        near = sorted(steps, key=lambda name: (abs((_step(name) or 0) - step), _step(name)))
    else:
        near = difflib.get_close_matches(wanted, known, n=N_NEAREST, cutoff=0.0)
    return f"nearest are {', '.join(near[:N_NEAREST])}" if near else "there are none"


def _step(name: str) -> int | None:
    found = re.fullmatch(r"step-?(\d+)", name)
    return int(found[1]) if found else None


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
