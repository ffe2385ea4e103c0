"""Looking up keys in the JSON schema, and writing down what they allow."""

import pytest

from circuitlapse.config.keys import allowed, as_yaml, node_at


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (("seed",), "a whole number, at least 0 and at most 4294967295"),
        (("circuits", "threshold"), "a number, above 0 and at most 1"),
        (("compute", "batch_size"), "a whole number, at least 1 and at most 100000 or null"),
        (("models", 1, "train", "d_model"), "a whole number, a multiple of 8, at least 8 and at "),
        (("heads", "copy_ln"), "one of full, folded"),
        (("activations", "keep"), "true or false"),
        (("stability",), "a mapping with the keys alpha, reference_step, min_step"),
    ],
)
def test_what_a_key_allows_is_written_in_words(where, words):
    assert allowed(node_at(where)).startswith(words)


def test_a_key_and_its_value_are_written_on_one_line():
    assert as_yaml({"layers": 2, "name": "a"}, name="train") == "train: {layers: 2, name: a}"


def test_a_key_that_does_not_exist_has_no_node():
    with pytest.raises(KeyError):
        node_at(("circuits", "treshold"))
