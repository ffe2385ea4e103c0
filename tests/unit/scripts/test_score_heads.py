"""The script that scores heads, on a tiny model and a text of its own."""

import pytest

from circuitlapse.io.table_files import read_provenance, read_table
from circuitlapse.schemas import HEADS

WHERE = {"model": "tiny", "variant": "seed1", "step": 0, "tokens": 0}
COMPUTE = {"device": "cpu", "dtype": "float32", "batch_size": 3, "memory_mb": None, "threads": 1}
OPTIONS = {"lengths": [4], "n_mean": 3, "n_documents": 2, "n_positions": 6}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(["So Mary is here, isn't she?\nSo John is here, isn't he?"] * 3))
    return path


def test_without_an_ioi_task_the_other_scores_are_there(run_script, pocket, text, tmp_path):
    log = run_script(
        "score_heads",
        inputs={"model": pocket / "step0", "text": text},
        output=[tmp_path / "heads.parquet"],
        params={
            "where": WHERE,
            "heads": OPTIONS,
            "seed": 3,
            "scores": ["induction", "copy"],
            "bootstrap": {"samples": 100, "level": 0.95, "seed": 1},
            "compute": COMPUTE,
            "stored_dtype": "float32",
        },
    )
    table = read_table(tmp_path / "heads.parquet", HEADS)
    status = table.groupby("score")["status"].agg(set)
    assert set(status.index) == {"induction", "copy"}
    assert status["copy"] == {"no_prompts"}
    assert status["induction"] == {"ok"}
    assert "induction: at most 0." in log
    origin = read_provenance(tmp_path / "heads.parquet")
    assert {"weights_hash", "text_hash", "settings"} <= set(origin)
