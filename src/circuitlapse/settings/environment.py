"""Variables of the environment that decide how a hub is asked, checked before any job starts.

`huggingface_hub` reads them when it is imported, and fails there with an error that names none of
them, or much later with one that repeats a token. Values that may be secrets are never repeated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from circuitlapse.errors import ConfigError
from circuitlapse.redaction import TOKENS

TIMEOUTS = ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")
LONGEST_S = 3600
"""Longest time-out, in seconds."""
SWITCHES = ("HF_HUB_OFFLINE", "HF_DEBUG", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "TRANSFORMERS_OFFLINE")
WORDS = ("", "0", "1", "false", "true", "no", "yes", "off", "on")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
SCHEMES = ("http", "https")
PROXY_SCHEMES = (*SCHEMES, "socks5", "socks5h")
SECRET = "another value (not shown: it may hold a secret)"
_PRINTABLE = re.compile(r"[!-~]+")
_SECONDS = re.compile(r"[0-9]{1,4}")


def check_environment(environment: Mapping[str, str] | None = None, *, hub: bool = True) -> None:
    """Check all variables, or without a hub only those that break an import.

    Raises:
        ConfigError: if any is wrong. The message has one line for each.
    """
    if lines := [*problems_of(os.environ if environment is None else environment, hub=hub)]:
        raise ConfigError("\n".join(lines))


def problems_of(environment: Mapping[str, str], *, hub: bool = True) -> Iterator[str]:
    """Yield one line per variable that is wrong; see `check_environment`."""
    wanted = f"a whole number of seconds, at least 1 and at most {LONGEST_S}"
    yield from _wrong(environment, TIMEOUTS, _is_timeout, wanted)
    if not hub:
        return
    wanted = "an address such as https://huggingface.co, without a query"
    yield from _wrong(environment, ("HF_ENDPOINT",), _is_address, wanted, SECRET)
    wanted = "printable ASCII characters without spaces"
    yield from _wrong(environment, TOKENS, _is_token, wanted, SECRET)
    yield from _wrong(environment, SWITCHES, _is_switch, "0 or 1")
    names = [one for name in PROXIES for one in (name, name.lower())]
    wanted = f"an address that starts with {', '.join(PROXY_SCHEMES)}"
    yield from _wrong(environment, names, _is_proxy, wanted, SECRET)


def _wrong(
    environment: Mapping[str, str],
    names: list[str] | tuple[str, ...],
    is_right: Callable[[str], bool],
    wanted: str,
    found: str = "",
) -> Iterator[str]:
    """Yield a line for every variable that is set and not right; it shows the value, or `found`."""
    for name in names:
        value = environment.get(name)
        if value is not None and not is_right(value):
            yield f"environment: {name}: expected {wanted}, found {found or ascii(value[:40])}"


def _is_timeout(value: str) -> bool:
    return bool(_SECONDS.fullmatch(value)) and 1 <= int(value) <= LONGEST_S


def _is_switch(value: str) -> bool:
    return value.lower() in WORDS


def _is_token(value: str) -> bool:
    return value == "" or (bool(_PRINTABLE.fullmatch(value)) and "://" not in value)


def _is_proxy(value: str) -> bool:
    return value == "" or _is_address(value if "://" in value else f"http://{value}", PROXY_SCHEMES)


def _is_address(value: str, schemes: tuple[str, ...] = SCHEMES) -> bool:
    """Return whether a value is an address with a host and, if any, a valid port."""
    if not _PRINTABLE.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        right = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or an open bracket
        return False
    return right and not parts.query and not parts.fragment
