from circuitlapse import load_model
from circuitlapse.heads.single_tokens import plain_tokens
from tests.unit.heads.words import with_words


def test_neither_special_tokens_nor_padding_are_words(random_folder):
    model = with_words(load_model(random_folder), 40)
    assert plain_tokens(model).tolist() == list(range(1, 40))


def test_tokens_that_the_model_has_no_row_for_are_no_words(random_folder):
    model = with_words(load_model(random_folder), 60)
    assert plain_tokens(model).tolist() == list(range(1, 50))
