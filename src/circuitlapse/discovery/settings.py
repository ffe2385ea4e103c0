"""How edges are scored and a circuit is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from circuitlapse.faithfulness import SearchSettings
from circuitlapse.statistics import Bootstrap


@dataclass(frozen=True)
class DiscoverySettings:
    """How edges are scored and a circuit is chosen; see `attribute_edges`, `edge_order`.

    Attributes:
        noise_floor: also find the circuits of two halves of the prompts.
    """

    method: str
    ig_steps: int
    ig_rule: str
    selection: str
    random_circuits: int
    noise_floor: bool
    search: SearchSettings
    bootstrap: Bootstrap

    @classmethod
    def from_config(
        cls, circuits: Mapping[str, Any], bootstrap: Mapping[str, Any]
    ) -> DiscoverySettings:
        """Return the settings of the sections `circuits` and `bootstrap` of a configuration."""
        names = {field.name for field in fields(SearchSettings)}
        search = SearchSettings(**{name: circuits[name] for name in names})
        how = {name: value for name, value in circuits.items() if name not in names}
        return cls(**how, search=search, bootstrap=Bootstrap(**bootstrap))
