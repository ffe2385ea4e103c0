import numpy as np
import pandas as pd
import pytest

from circuitlapse.schemas import HEAD_SCORES


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory):
    from tests.planted_ioi import save_planted_ioi

    return save_planted_ioi(tmp_path_factory.mktemp("planted") / "ioi")


@pytest.fixture(scope="session")
def planted(planted_folder):
    from circuitlapse import load_decoder

    return load_decoder(planted_folder, dtype="float64")


@pytest.fixture(scope="session")
def score_frame():
    """Makes scores of heads that are 0, but for those given: name -> (layer, head) -> value."""

    def make(shape, **known):
        frames = []
        for name in ("copy", "copy_neg", "cspa", "induction", "duplicate", "prev_token"):
            values = np.zeros(shape)
            for at, value in known.get(name, {}).items():
                values[at] = value
            layer, head = np.indices(shape).reshape(2, -1)
            columns = {"score": name, "layer": layer, "head": head, "value": values.ravel()}
            frames.append(pd.DataFrame(columns))
        return HEAD_SCORES.cast(
            pd.concat(frames, ignore_index=True).assign(n=9, status="ok", low=np.nan, high=np.nan)
        )

    return make
