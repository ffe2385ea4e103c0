"""What the sections of the configuration share: keys, rules, paths and lists of training steps."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from circuitlapse.errors import has_control, printable

KeyPath = tuple[str | int, ...]
"""The position of a value: `("models", 1, "steps", 2)` is models[1].steps[2]."""


@dataclass(frozen=True)
class Problem:
    """A wrong or missing value.

    Attributes:
        where: Its key.
        sentence: What is wrong, without the key; empty if a required key is missing.
    """

    where: KeyPath
    sentence: str = ""


RULE = "rule"
"""The type of a pydantic error whose message is the sentence of a `Problem`."""

INVALID: Any = object()
"""Takes the place of a value that pydantic refused; see `lenient`."""

LENIENT = "lenient"
"""Validation context in which a refused value becomes `INVALID`, and sections check no rules.

It gives cross-field validation everything that is valid, although something else is not.
"""


def lenient(value: Any, handler: Callable[[Any], Any], info: Any) -> Any:
    """Validate a value; in the context `LENIENT`, return `INVALID` where it is refused."""
    try:
        return handler(value)
    except ValidationError:
        if info.context != LENIENT:
            raise
        return INVALID


def one_error(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Validate a value; report one error, not one for each member of a union that refuses it."""
    try:
        return handler(value)
    except ValidationError:
        raise PydanticCustomError("no_member", "is none of the allowed values") from None


def nearest(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'NEAREST'?", or "." when nothing is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else "."


def rule_error(sentence: str) -> PydanticCustomError:
    """Return the pydantic error for a value that breaks a rule."""
    return PydanticCustomError(RULE, "{sentence}", {"sentence": sentence})


MAX_NAME = 100
"""Longest name that becomes a part of a path, in characters."""
MAX_PATH_PART = 255
"""Longest name of a file or folder that common file systems allow, in bytes."""

FILE_NAME: dict[str, Any] = {
    "pattern": r"^[a-z0-9][a-z0-9.-]*$",
    "max_length": MAX_NAME,
    "allowed": f"at most {MAX_NAME} lower-case letters, digits, '.' and '-', starting with a "
    "letter or digit",
}
DEFAULT_SEED = 1234

Lenient = WrapValidator(lenient)
OneError = WrapValidator(one_error)
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Step = Annotated[int, Field(ge=0), Lenient]
Steps = Annotated[tuple[Step, ...], Field(strict=False, min_length=1)]  # YAML has lists, not tuples


def _plain(text: str) -> str:
    """Refuse characters that break paths, messages and figures."""
    if has_control(text):
        raise rule_error(
            f"= '{printable(text)}' holds a control character, such as NUL or the end of a line."
        )
    return text


def _expanded(path: str) -> str:
    """Replace `~` and environment variables: whatever reads the path later takes it literally."""
    _plain(path)
    for name in re.findall(r"\$\{?(\w+)", path):
        if name not in os.environ:
            raise rule_error(f"= '{path}' uses the environment variable {name}, which is not set.")
    try:
        home = str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise rule_error(f"= '{path}' names a user without a home directory.") from None
    if not (expanded := os.path.expandvars(home).rstrip("/")):
        raise rule_error(f"= '{path}' is an empty path.")
    _plain(expanded)
    if longest := [part for part in expanded.split("/") if len(os.fsencode(part)) > MAX_PATH_PART]:
        sentence = f"has a name of {len(os.fsencode(longest[0]))} bytes in its path; file systems "
        raise rule_error(f"{sentence}allow at most {MAX_PATH_PART}.")
    return expanded


PathText = Annotated[str, AfterValidator(_expanded)]
PlainText = Annotated[str, AfterValidator(_plain)]


Schedule = Literal["all", "linear", "exponential", "exp_plus_detail", "sparse", "quick"]

TOKENS_PER_STEP = 1024 * 2048
"""Tokens that a Pythia model sees in one training step."""

_DOUBLING = tuple(2**power for power in range(10))


def _every(step: int, *, first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1, step))


SCHEDULES: Mapping[Schedule, tuple[int, ...]] = {
    "all": (0, *_DOUBLING, *_every(1000, first=1000, last=143_000)),
    "linear": _every(1000, first=1000, last=143_000),
    "exponential": (*_DOUBLING, *(1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 131_000)),
    "exp_plus_detail": (
        *(0, *_DOUBLING),
        *_every(1000, first=1000, last=15_000),
        *_every(5000, first=20_000, last=65_000),
        *_every(10_000, first=70_000, last=140_000),
        143_000,
    ),
    "sparse": (
        *(256, 512),
        *_every(1000, first=1000, last=9000),
        *_every(5000, first=10_000, last=45_000),
        *_every(10_000, first=50_000, last=90_000),
        *(100_000, 120_000, 140_000, 143_000),
    ),
    "quick": (0, 64, 512, 1000, 2000, 4000, 8000, 16_000, 33_000, 66_000, 100_000, 143_000),
}
"""Lists of training steps at which Pythia was published (Biderman et al. 2023, arXiv 2304.01373):
0, powers of two up to 512, and every 1000. All but `quick` come from Tigges et al. 2024
(arXiv 2407.10827); 0 and 143000 were added to its `exp_plus_detail`."""

PUBLISHED = SCHEDULES["all"]
"""The steps at which every Pythia model was published."""
PYTHIA_PREFIX = "EleutherAI/pythia-"
"""The start of the name of every Pythia repository."""

STEP = re.compile(r"\{step(?::0([1-9]))?\}")
"""The place of a training step in the name of a revision or a folder; see `named`."""


def named(pattern: str, step: int) -> str:
    """Write a step in its place in a pattern: {step}, or {step:03} for at least three digits."""
    return STEP.sub(lambda found: str(step).zfill(int(found[1] or 0)), pattern)


class Section(BaseModel):
    """A mapping of keys: immutable, without unknown keys, and strict about types.

    The text below each key says what it means, with its unit.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def problems(self) -> Iterator[Problem]:
        """Yield the rules that keys break together; each key alone is valid."""
        yield from ()

    @model_validator(mode="after")
    def _cross_field(self, info: Any) -> Section:
        problems = () if info.context == LENIENT else self.problems()
        if errors := [_line_error(problem) for problem in problems]:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self


def _line_error(problem: Problem) -> InitErrorDetails:
    kind = rule_error(problem.sentence) if problem.sentence else "missing"
    return InitErrorDetails(type=kind, loc=problem.where, input=None)


def key(
    default: Any = ..., *, reruns: str = "", allowed: str = "", otherwise: str = "", **field: Any
) -> Any:
    """Describe one key.

    Args:
        default: Its value when it is not set; without one the key is required. Together with
            `otherwise`, a function of the keys before it in the same section.
        reruns: What is computed again when it changes, if that differs from its section.
        allowed: The values it may take, in words, where a pattern would be hard to read.
        otherwise: Its value when it is not set, in words, where that depends on other keys.
        field: Passed on to `pydantic.Field`: limits, pattern, examples.
    """
    notes = {"x-reruns": reruns, "x-allowed": allowed, "x-otherwise": otherwise}
    field["json_schema_extra"] = {name: text for name, text in notes.items() if text}
    if otherwise:  # a factory, because the JSON schema must not show a default
        return Field(default_factory=default, **field)
    return Field(default, **field)


def reruns(what: str) -> dict[str, Any]:
    """Say what is computed again when a key of a section changes, unless the key says otherwise."""
    return {"x-reruns": what}


def section(kind: type[Section]) -> Any:
    """Describe a key whose value is a section, each key of which has a default."""
    return key(kind(), description=str(kind.__doc__))
