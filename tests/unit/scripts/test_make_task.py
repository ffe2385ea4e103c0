import json

import pyarrow.parquet as pq
import pytest

from circuitlapse.io.provenance import file_hash
from circuitlapse.io.task_files import read_task

PARAMS = {
    "name": "mine",
    "builder": None,
    "metric": "logit_diff",
    "n_prompts": 3,
    "seed": 5,
    "prepend_bos": True,
    "options": {},
}


def test_a_task_says_which_file_tokenizer_and_settings_made_it(run_script, pocket, tmp_path):
    inputs = {"tokenizer": pocket / "tokenizer.json", "file": pocket / "mine.csv"}
    made = tmp_path / "mine.parquet"
    log = run_script("make_task", inputs=inputs, output=[made], params=PARAMS)
    assert "kept 3 prompt pairs" in log
    origin = json.loads(pq.read_schema(made).metadata[b"circuitlapse"])
    assert origin["file_hash"] == file_hash(pocket / "mine.csv")
    assert origin["tokenizer_hash"] == read_task(made).tokenizer_hash
    assert json.loads(origin["settings"]) == PARAMS
    assert {"key", "code_hash", "circuitlapse"} <= set(origin)


@pytest.mark.parametrize(("n_prompts", "warned"), [(12, True), (10, False), (None, False)])
def test_fewer_prompts_than_asked_for_are_pointed_out(
    run_script, pocket, tmp_path, capsys, n_prompts, warned
):
    inputs = {"tokenizer": pocket / "tokenizer.json", "file": pocket / "mine.csv"}
    params = PARAMS | {"n_prompts": n_prompts}
    log = run_script("make_task", inputs=inputs, output=[tmp_path / "m.parquet"], params=params)
    line = "WARNING task mine: n_prompts is 12, but the task has only 10 prompt pairs"
    assert capsys.readouterr().err == (f"{line}\n" if warned else "")
    assert (line in log) == warned
