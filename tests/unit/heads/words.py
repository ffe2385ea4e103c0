"""A tokenizer for models that have none."""

from transformers import PreTrainedTokenizerFast


def with_words(model, n_words):
    """Give a model a tokenizer of `n_words` words, w0 to ...; w0 ends a text, and is special."""
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({f"w{index}": index for index in range(n_words)}, "w0"))
    model.tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0")
    return model
