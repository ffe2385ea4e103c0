"""Secrets never appear in logs, on the terminal or in messages, whoever writes them.

`install` lets every log record of this process pass `SecretFilter` before a handler sees it: those
of this library, of `huggingface_hub` (which shows all requests with `HF_DEBUG=1`), of `httpx` and
`urllib3`, and of Snakemake.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
ADDRESSES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables of the environment that are secrets, and that may hold a password."""
SHORTEST = 4
"""A password of fewer letters is hidden in addresses only: elsewhere it may be part of a word."""
_hidden: set[str] = set()
_PATTERNS = (
    # of an address: user and password, and the query, with which anyone can read a signed file
    (re.compile(r"(:/{1,2})[^/\s@'\"]*@"), r"\1"),
    (re.compile(r"(://[^\s?]*)\?[^\s'\")>]*"), r"\1"),
    (
        re.compile(
            r"\b((?:x-amz-[a-z-]+|signature|policy|key-pair-id|access_token|token|sig)=)[^&\s'\",)>]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"(authorization['\"]?\s*[:=,]\s*(?:b?['\"])?(?:(?:basic|bearer|token)\s+)?)[^\s'\",)]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(Bearer\s+)[\w.~+/=-]{8,}"), rf"\1{MASK}"),
    (re.compile(r"\bhf_[A-Za-z0-9]{20,}"), MASK),
)


def hide(secret: str | None) -> None:
    """Let `redact` hide this text from now on, such as a token that was read from a file."""
    if secret:
        _hidden.add(secret)


def redact(text: str) -> str:
    """Return `text` without tokens, passwords, authorization headers and queries of addresses."""
    values = tuple(
        os.environ.get(name, "")
        for names in (TOKENS, ADDRESSES)
        for one in names
        for name in (one, one.lower())
    )
    if known := _known(values, frozenset(_hidden)):
        text = known.sub(MASK, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=8)
def _known(values: tuple[str, ...], hidden: frozenset[str]) -> re.Pattern[str] | None:
    """Return the pattern of all known secrets, in every form in which they are written."""
    n_tokens = 2 * len(TOKENS)
    secrets = {*hidden, *values[:n_tokens]}
    secrets |= {secret for address in values[n_tokens:] for secret in _in_address(address)}
    forms = {
        form
        for secret in secrets
        for form in (secret, quote(secret, safe=""), quote_plus(secret), unquote(secret))
        if len(form) >= SHORTEST
    }
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.I) if forms else None


def _in_address(address: str) -> Iterator[str]:
    """Yield the password, or the only user, and what an authorization header has of them."""
    try:
        parts = urlsplit(address)
    except ValueError:  # a wrong address; see `settings.environment`
        yield address
        return
    if not parts.username and not parts.password:
        return
    yield parts.password or parts.username or ""
    both = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(both).decode().rstrip("=")


class SecretFilter(logging.Filter):
    """Hides secrets in the message, the traceback and the stack of a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record where it has secrets; return True, since every record is shown."""
        try:
            text = record.getMessage()
        except Exception:  # wrong arguments; the handler reports them, with the message
            text, record.args = str(record.msg), ()
        if (clean := redact(text)) != text:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] and not record.exc_text:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (clean := redact(text)) != text:  # what formatters show in place of `exc_info`
                record.exc_text, record.exc_info = clean, None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def install() -> None:
    """Hide secrets in all log records and uncaught exceptions of this process; once is enough."""
    make, secrets = logging.getLogRecordFactory(), SecretFilter()
    if getattr(make, "hides_secrets", False):
        return

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        secrets.filter(made)
        return made

    record.hides_secrets = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = show_exception


def show_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an uncaught exception like Python does, without secrets."""
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))
