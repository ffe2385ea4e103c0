from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, processors

from circuitlapse.errors import ModelError
from circuitlapse.tasks.checks import refuse_other_tokens
from circuitlapse.tasks.registry import build_task
from circuitlapse.tasks.vocabulary import Vocabulary


def test_every_prompt_is_read_alike_by_the_tokenizer_that_made_it(pythia):
    for bos in (False, True):
        made = {"n_prompts": 10, "seed": 0, "prepend_bos": bos}
        task = build_task("mine", pythia, builder="ioi", **made)
        refuse_other_tokens(task, Vocabulary(pythia), where="here")


def test_a_tokenizer_that_was_saved_by_another_library_is_the_same(pythia):
    """Pythia's, with what newer libraries write into its file."""
    task = build_task("mine", pythia, builder="sva", n_prompts=10, seed=0)
    saved = Tokenizer.from_str(pythia.to_str())
    saved.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B")
    saved.enable_truncation(2048)
    assert Vocabulary(saved).hash != task.tokenizer_hash
    refuse_other_tokens(task, Vocabulary(saved), where="here")


def test_another_tokenizer_is_refused_with_a_prompt_that_it_reads_otherwise(
    pythia, make_tokenizer: Callable[..., Tokenizer]
):
    """Pythia's, with the numbers of two tokens exchanged; and one of another kind."""
    task = build_task("mine", pythia, builder="sva", n_prompts=10, seed=0)
    prompt, expected = task.frame.loc[0, ["clean", "clean_tokens"]]
    first, last = expected[0], expected[-1]
    changed = json.loads(pythia.to_str())
    ids = changed["model"]["vocab"]
    ids[pythia.id_to_token(first)], ids[pythia.id_to_token(last)] = last, first
    exchanged = [{first: last, last: first}.get(token, token) for token in expected]
    other = Vocabulary(Tokenizer.from_str(json.dumps(changed)))
    message = f"here: not the tokenizer that the prompts of task mine were made with: {prompt!r} "
    message += f"has the tokens {exchanged} there, expected {list(expected)}; the models of a suite"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}"):
        refuse_other_tokens(task, other, where="here")
    with pytest.raises(ModelError, match="share the tokenizer of the first one"):
        refuse_other_tokens(task, Vocabulary(make_tokenizer(prompt)), where="here")
