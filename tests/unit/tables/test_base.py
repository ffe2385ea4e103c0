from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from circuitlapse.errors import ArtifactError
from circuitlapse.schemas import BEHAVIOUR
from circuitlapse.tables.base import stack

ORDER = {"models": ["small", "large"], "tasks": ["sva", "ioi"]}


def behaviour_rows(model: str, step: int, *tasks: str) -> pd.DataFrame:
    numbers = dict.fromkeys(("value", "se", "ci_low", "ci_high", "value_corrupted"), 0.5)
    rows = [
        {"model": model, "variant": "", "step": step, "tokens": 100 * step, "task": task}
        | {"metric": "logit_diff", "unit": "logits", "accuracy": 1.0, "rank0": np.nan}
        | {
            "answer_prob": 0.1,
            "n": 20,
            "prepend_bos": False,
            "dtype": "float32",
            "data_seed": 1,
            "n_parameters": 9,
            "checkpoint": "ok",
        }
        | numbers
        for task in tasks
    ]
    return BEHAVIOUR.cast(pd.DataFrame(rows))


def test_behaviour_is_in_the_order_of_the_configuration_and_then_by_step():
    frames = [
        behaviour_rows("large", 10, "ioi", "sva"),
        behaviour_rows("small", 10, "ioi", "sva"),
        behaviour_rows("small", 2, "sva", "ioi"),
    ]
    table = stack(frames, BEHAVIOUR, **ORDER)
    BEHAVIOUR.check(table, where="test")
    assert list(table[["model", "task", "step"]].itertuples(index=False, name=None)) == [
        ("small", "sva", 2), ("small", "sva", 10), ("small", "ioi", 2), ("small", "ioi", 10),
        ("large", "sva", 10), ("large", "ioi", 10),
    ]  # fmt: skip
    pd.testing.assert_frame_equal(table, stack(frames[::-1], BEHAVIOUR, **ORDER))


def test_an_observation_that_comes_twice_is_refused():
    frames = [behaviour_rows("small", 2, "ioi")] * 2
    with pytest.raises(ArtifactError, match=r"model=small.*task=ioi, step=2.* more than once"):
        stack(frames, BEHAVIOUR, **ORDER)


def test_a_model_that_is_not_in_the_configuration_is_refused():
    with pytest.raises(ArtifactError, match="unknown model 'smal'; did you mean 'small'"):
        stack([behaviour_rows("smal", 2, "ioi")], BEHAVIOUR, **ORDER)


def test_a_frame_with_a_wrong_dtype_is_refused():
    frame = behaviour_rows("small", 2, "ioi").astype({"n": "int64"})
    with pytest.raises(ArtifactError, match="column 'n' is int64, expected int32"):
        stack([frame], BEHAVIOUR, **ORDER)
