import numpy as np
import pandas as pd
import pytest

from circuitlapse.circuits.record import CircuitRecord
from circuitlapse.exchange.head_sets import HEADS_OF, head_sets
from circuitlapse.heads.naming import Naming
from circuitlapse.schemas import HEADS, ROLES
from circuitlapse.types import HEAD_SET_TITLES, ROLE_TITLES, HeadSet, Role, RoleRule
from tests.unit.tables.test_circuits import make_record

PAPER = Naming(RoleRule.PAPER, (100,))
AT = {"model": "small", "variant": "", "step": 8, "tokens": 800}


def roles(*rows, **changes):
    frame = pd.DataFrame(rows, columns=["role", "layer", "head"])
    about = AT | {"task": "ioi", "effect": -0.1, "unit": "", "n": 9} | changes
    return ROLES.cast(frame.assign(**about))


def scores(**changes):
    """Induction 0.1, 0.2, 0.6 and NaN in layer 0, of mean 0.3; succession 0.5, 0.4, 0, 0.6."""
    values = {"induction": [0.1, 0.2, 0.6, np.nan], "succession": [0.5, 0.4, 0.0, 0.6]}
    frame = pd.concat(
        pd.DataFrame({"score": name, "layer": 0, "head": range(4), "value": numbers})
        for name, numbers in values.items()
    )
    return HEADS.cast(
        frame.assign(**AT | {"n": 9, "status": "ok", "low": 0.1, "high": 0.9} | changes)
    )


def record(task, heads=(0,), layer=0) -> CircuitRecord:
    """A circuit that goes from the input through heads of one layer to the logits."""
    names = [f"a{layer}.h{head}" for head in range(5)]
    targets = (*(f"{name}<q>" for name in names), "logits")
    mask = np.zeros((6, 6), dtype=bool)
    for head in heads:
        mask[0, head] = mask[1 + head, 5] = True
    edges = {"in_circuit": mask, "scores": np.zeros((6, 6)), "order": np.zeros((6, 6), dtype=int)}
    return make_record(task=task, sources=("input", *names), targets=targets, **edges)


def sets(task, builder, layer=0, **known):
    known = {"roles": ROLES.empty(), "scores": HEADS.empty(), "naming": PAPER} | known
    return head_sets(record(task, heads=(0, 2), layer=layer), builder=builder, **known)


def test_the_heads_of_a_circuit_are_those_that_its_edges_touch():
    assert record("sva", heads=(1, 3)).heads == {(0, 1), (0, 3)}
    assert sets("sva", "sva") == {"circuit": {(0, 0), (0, 2)}}


def test_heads_of_ioi_are_put_together_by_role():
    table = roles(("NM", 1, 0), ("NegNM", 1, 1), ("CS", 1, 0), ("NegCS", 1, 2), ("S2I", 0, 3),
                  ("Ind", 0, 1), ("Dup", 0, 1), ("Dup", 0, 2))  # fmt: skip
    assert sets("ioi", "ioi", roles=table) == {
        "circuit": {(0, 0), (0, 2)},
        "name_movers": {(1, 0)},
        "name_movers_cs": {(1, 0), (1, 1), (1, 2)},
        "s2i": {(0, 3)},
        "induction_duplicate": {(0, 1), (0, 2)},
    }


@pytest.mark.parametrize(
    "changes", [{"step": 4}, {"task": "ioi_two"}, {"model": "large"}, {"variant": "b"}]
)
def test_roles_of_other_steps_tasks_and_models_are_ignored(changes):
    elsewhere = roles(("NM", 1, 5), **changes)
    found = sets("ioi", "ioi", roles=pd.concat([elsewhere, roles(("NM", 1, 0))]))
    assert found["name_movers"] == {(1, 0)}
    assert found["s2i"] == set()


def test_greater_than_has_the_induction_and_successor_heads_of_its_circuit():
    """Above the mean is head 2; above 0.4 are heads 0 and 3, of which 3 is in no circuit."""
    elsewhere = scores(step=4).assign(value=np.float32(1))
    table = pd.concat([scores(), elsewhere])
    found = sets("years", "greater_than", scores=table)
    assert found == {"circuit": {(0, 0), (0, 2)}, "induction_successor": {(0, 0), (0, 2)}}
    found = head_sets(
        record("years", heads=(1, 2)),
        builder="greater_than",
        roles=ROLES.empty(),
        scores=table,
        naming=PAPER,
    )
    assert found["induction_successor"] == {(0, 2)}


def test_a_head_above_the_mean_but_at_chance_or_in_layer_0_is_no_induction_head():
    """Uniform attention gives 0.0069 at a length of 100; head 2 has the most."""
    table = scores().assign(layer=np.int16(1))
    naming = Naming(RoleRule.CONTROLLED, (100,))
    for layer, level, expected in ((1, 1.0, {(1, 2)}), (1, 0.02, set()), (0, 1.0, set())):
        value = table["value"].where(table["score"] == "induction", 0) * np.float32(level)
        of_layer = table.assign(layer=np.int16(layer), value=value)
        found = sets("years", "greater_than", layer=layer, scores=of_layer, naming=naming)
        assert found["induction_successor"] == expected


def test_a_custom_task_has_only_the_heads_of_its_circuit():
    assert sets("mine", "custom", roles=roles(("NM", 1, 0), task="mine")) == {
        "circuit": {(0, 0), (0, 2)}
    }


def test_every_set_and_every_role_has_heads_and_a_title():
    assert set(HEADS_OF) == set(HEAD_SET_TITLES) == set(HeadSet)
    assert set(ROLE_TITLES) == set(Role)


EVERY = [(layer, head) for layer in range(4) for head in range(6)]
