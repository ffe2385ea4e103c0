import pytest
import yaml


def message_of(workflow, *arguments, config="config/smoke.yaml"):
    return workflow.run("--dry-run", *arguments, config=config, ok=False)


def test_every_problem_is_reported_before_any_job_and_without_a_traceback(workflow):
    config = workflow.write_config(
        "bad.yaml", steps=[0, 99], circuit={}, tasks=[{"name": "ioi", "n_promts": 20}]
    )
    message = message_of(workflow, config=config)
    assert "config/bad.yaml: steps[1] = 99" in message
    assert "nearest are 0 and 100" in message
    assert "circuit is not a known key; did you mean 'circuits'?" in message
    assert "tasks[0].n_promts is not a known key; did you mean 'n_prompts'?" in message
    assert "Traceback" not in message
    assert not (workflow.folder / "results-smoke").exists()


@pytest.mark.parametrize(
    ("circuit", "words"),
    [
        ("pocket-tiny/sva/step7", "unknown step '7' (known: {steps})"),
        (
            "pocket-nano/sva/step0",
            "unknown model 'pocket-nano'; did you mean 'pocket-tiny'? (known: {models})",
        ),
        ("pocket-tiny/svo/step0", "unknown task 'svo'; did you mean 'sva'? (known: {tasks})"),
    ],
)
def test_a_diagram_of_what_is_not_analysed_is_refused_before_any_job(workflow, circuit, words):
    written = yaml.safe_load((workflow.folder / "config/smoke.yaml").read_text())
    named = {key: ", ".join(one["name"] for one in written[key]) for key in ("models", "tasks")}
    steps = written["models"][0].get("steps", written["steps"])
    words = words.format(steps=", ".join(map(str, steps)), **named)
    message = message_of(workflow, f"results-smoke/figures/circuit_diagram/{circuit}.pdf")
    assert f"circuit_diagram/{circuit}: {words}" in message


def test_a_value_from_the_command_line_is_named_as_such(workflow):
    message = message_of(workflow, "--config", "circuits={threshold: 1.7}")
    assert "--config: circuits.threshold = 1.7" in message


def with_row(workflow, row):
    rows = "\n".join(["clean,corrupted,correct,wrong", row, *[row] * 9])
    (workflow.folder / "mine.csv").write_text(rows)
    task = {"name": "mine", "file": "mine.csv", "metric": "logit_diff"}
    return workflow.write_config("mine.yaml", tasks=[task])


@pytest.mark.parametrize("row", ["Mary,John", "Mary saw,Mary saw, him, it"])
def test_a_file_of_prompts_with_a_bad_row_names_the_row(workflow, row):
    message = message_of(workflow, config=with_row(workflow, row))
    assert message.count("line 2:") == 1
    assert "Traceback" not in message
    assert "tasks[0].file = 'mine.csv'" in message


def test_a_word_that_the_tokenizer_does_not_know_names_the_row(workflow):
    config = with_row(workflow, "Xyzzy is,John is, she, he")
    target = "results-smoke/tasks/pocket/mine.parquet"
    message = workflow.run(target, config=config, ok=False)
    assert message.count("TaskError: ") == 1
    assert message.count("line 2:") == 1
    assert "Traceback" not in message
    assert "mine.csv" in message


def test_files_that_cannot_be_used_stop_a_run_before_its_first_job(workflow):
    """Although other jobs would go on when one fails."""
    with_row(workflow, "Xyzzy is,John is, she, he")
    (workflow.folder / "mine.txt").write_text("John is here.\n\nMary is here.\n")
    task = {"name": "mine", "file": "mine.csv", "metric": "logit_diff"}
    config = workflow.write_config("mine.yaml", tasks=[task], heads={"text": "mine.txt"})
    message = workflow.run("--keep-going", config=config, ok=False)
    assert message.count("task mine: mine.csv: ") == 1
    assert message.count("line 2:") == 1
    assert "Xyzzy" in message
    assert "mine.txt: found 0 documents of at least heads.n_positions = 61 tokens" in message
    assert "expected heads.n_mean = 100" in message
    assert "Traceback" not in message
    assert not (workflow.folder / "results-smoke").exists()
