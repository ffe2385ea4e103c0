"""Verdicts on planted layouts: whole duplicates, shared shards, other formats, other models."""

import pytest

from circuitlapse.models.contents import Contents, WeightFile, classify, formats_of

SAFE, TORCH = "model.safetensors", "pytorch_model.bin"


def at(step, *hashes, torch=None, model="m", label=None, analysed=True):
    """Return a checkpoint with a file or shard per hash, and one with `torch` as its hash."""
    names = (
        [SAFE]
        if len(hashes) == 1
        else [f"model-{n}-of-9.safetensors" for n, _ in enumerate(hashes)]
    )
    files = [WeightFile(name, hash, 8) for name, hash in zip(names, hashes, strict=True)]
    files += [WeightFile(TORCH, torch, 8)] if torch else []
    return Contents(model, step, formats_of(files), label or f"step{step}", analysed)


def statuses(*contents):
    return {step: str(verdict.status) for (_, step), verdict in classify(contents).items()}


def test_weights_of_their_own_are_ok():
    assert statuses(at(0, "a"), at(1, "b"), at(2, "c")) == {0: "ok", 1: "ok", 2: "ok"}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_latest_of_several_equal_steps_keeps_the_weights(reverse):
    contents = [at(0, "z"), at(1, "z"), at(2, "b"), at(3, "z"), at(4, "d")]
    found = classify(reversed(contents) if reverse else contents)
    assert {step: str(one.status) for (_, step), one in found.items()} == {
        **{0: "duplicate", 1: "duplicate"},
        **{2: "ok", 3: "ok", 4: "ok"},
    }
    assert found["m", 0].same_as == found["m", 1].same_as == "step3"


def test_main_counts_as_the_last_published_step():
    main = at(9, "f", label="main", analysed=False)
    assert statuses(at(1, "f"), at(2, "b"), main) == {1: "duplicate", 2: "ok"}
    assert classify([at(1, "f"), main])["m", 1].same_as == "main"
    assert statuses(at(1, "f"), at(9, "f"), main) == {1: "duplicate", 9: "ok"}
    assert classify([at(1, "f"), at(9, "f"), main])["m", 1].same_as == "step9"


def test_one_shared_shard_makes_the_earlier_step_suspect():
    found = classify([at(1, "a", "b"), at(2, "f", "c"), at(3, "f", "g")])
    assert [str(found["m", step].status) for step in (1, 2, 3)] == ["ok", "suspect", "ok"]
    assert found["m", 2].same_as == "step3"
    assert found["m", 2].shared == ("model-0-of-9.safetensors",)


def test_another_format_with_weights_of_its_own_is_used_instead():
    found = classify([at(1, "f", torch="own"), at(2, "f", torch="end"), at(3, "f", torch="end")])
    assert [str(found["m", step].status) for step in (1, 2, 3)] == ["ok", "duplicate", "ok"]
    assert [file.name for file in found["m", 1].files] == [TORCH]
    assert found["m", 1].instead_of == SAFE
    assert found["m", 1].same_as == "step3"
    assert found["m", 3].files[0].name == SAFE


def test_a_step_without_weights_says_so():
    assert statuses(at(0), at(1, "a")) == {0: "no_weights", 1: "ok"}


def test_weights_of_another_model_are_suspect_but_not_at_the_start():
    found = classify([at(0, "z"), at(5, "a"), at(0, "z", model="n"), at(6, "a", model="n")])
    assert {place: str(one.status) for place, one in found.items()} == {
        ("m", 0): "ok",
        ("m", 5): "suspect",
        ("n", 0): "ok",
        ("n", 6): "suspect",
    }
    assert found["n", 6].same_as == "m at step5"
    assert found["n", 0].same_as == "m at step0"


def test_only_files_with_weights_count_and_safetensors_come_first():
    names = ["config.json", TORCH, SAFE, "training_args.bin", "model.safetensors.index.json"]
    found = formats_of([WeightFile(name, name, 1) for name in names])
    assert [[file.name for file in files] for files in found] == [[SAFE], [TORCH]]


def test_the_reported_layout_of_pythia_2_8b_is_found():
    """86 of 154 steps: 76 have the file of main, ten share a second one with a later step."""
    final = [*[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512], *range(1000, 53001, 1000)]
    final += [55000, 60000, 65000, 70000, 80000, 90000, 100000, 103000]
    final += [110000, 120000, 130000, 140000]
    second = [54000, *range(56000, 59001, 1000), *range(61000, 64001, 1000), 143000]
    assert (len(final), len(second)) == (76, 10)
    steps = [0, *(2**n for n in range(10)), *range(1000, 143001, 1000)]
    assert len(steps) == 154
    kinds = dict.fromkeys(final, "final") | dict.fromkeys(second, "second")
    contents = [at(step, kinds.get(step, f"own {step}")) for step in steps]
    found = classify([*contents, at(143000, "final", label="main", analysed=False)])
    wrong = {step for (_, step), one in found.items() if one.status == "duplicate"}
    assert wrong == {*final, *second} - {143000}
