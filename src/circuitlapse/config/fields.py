"""How a key is described, once: the JSON schema, config/README.md and errors all read this."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FILE_NAME: dict[str, Any] = {
    "pattern": r"^[a-z0-9][a-z0-9.-]*$",
    "allowed": "small letters, digits, '.' and '-', with a letter or digit first",
}
SEED: dict[str, Any] = {"ge": 0, "le": 2**32 - 1}
STEPS: dict[str, Any] = {"strict": False, "min_length": 1}  # YAML has lists, not tuples

Steps = tuple[Annotated[int, Field(ge=0)], ...]


class Section(BaseModel):
    """A mapping of keys: immutable, nothing unknown allowed, no guessing of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def key(
    sentence: str,
    default: Any = ...,
    *,
    reruns: str = "",
    allowed: str = "",
    otherwise: str = "",
    **field: Any,
) -> Any:
    """Describe one key.

    Args:
        sentence: What the key means, with its unit.
        default: Its value when it is not set; without one the key is required.
        reruns: What is computed again when it changes.
        allowed: The values it may take, in words, where a pattern would be hard to read.
        otherwise: What holds when it is not set, where that depends on other keys.
        field: Passed on to `pydantic.Field`: limits, pattern, examples.
    """
    notes = {"x-reruns": reruns, "x-allowed": allowed, "x-otherwise": otherwise}
    field |= {
        "description": sentence,
        "json_schema_extra": {name: text for name, text in notes.items() if text},
    }
    if otherwise:  # a factory, because the JSON schema must not show a default
        return Field(default_factory=_filled_in_later, **field)
    return Field(default, **field)


def section(kind: type[Section]) -> Any:
    """Describe a key whose value is a section, each key of which has a default."""
    return key(str(kind.__doc__), kind())


def _filled_in_later() -> None:
    """Stand in for a value that `load_config` takes from other keys."""
