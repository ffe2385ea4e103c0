"""A tokenizer for models that have none."""

from dataclasses import replace

from tokenizers import Tokenizer, models


def with_words(model, n_words):
    """Return a model with a tokenizer of `n_words` words, w0 to ...; w0 is special."""
    words = Tokenizer(models.WordLevel({f"w{index}": index for index in range(n_words)}, "w0"))
    words.add_special_tokens(["w0"])
    return replace(model, tokenizer=words)
