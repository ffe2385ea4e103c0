"""Small models in the format of EleutherAI, and a watch over the checkpoints on disk."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

REPO = "EleutherAI/pythia-70m"
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 256}
"""Shape of the test models, instead of that of `PUBLISHED`."""
PUBLISHED: Mapping[str, Any] = {
    "architectures": ["GPTNeoXForCausalLM"],
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_act": "gelu",
    "hidden_size": 512,
    "initializer_range": 0.02,
    "intermediate_size": 2048,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 2048,
    "model_type": "gpt_neox",
    "num_attention_heads": 8,
    "num_hidden_layers": 6,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.24.0",
    "use_cache": True,
    "use_parallel_residual": True,
    "vocab_size": 50304,
}
"""`config.json` of Pythia 70M, with the keys of transformers 4.24."""
END = "<|endoftext|>"
SPECIAL = {"bos_token": END, "eos_token": END, "unk_token": END}
TOKENIZER_CONFIG = SPECIAL | {"add_prefix_space": False, "tokenizer_class": "GPTNeoXTokenizer"}


def make_steps(
    folder: Path, tokenizer: Path, *, tasks: Sequence[Any], lessons: Mapping[int, int], **shape: int
) -> dict[int, Path]:
    """Train a model on the prompts of `tasks`, and save it at several training steps.

    `lessons` has, by training step, the number of updates since the step before. The last step
    but one has only `pytorch_model.bin`, like some models on the hub.
    """
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    written = dict(PUBLISHED) | shape
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**written)).float().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    made = {}
    for step, n_lessons in lessons.items():
        for _ in range(n_lessons):
            optimizer.zero_grad()
            loss_on(model, tasks).backward()
            optimizer.step()
        made[step] = folder / f"step{step}"
        save(model, made[step], written, tokenizer, as_bin=step == list(lessons)[-2])
    return made


def loss_on(model: Any, tasks: Sequence[Any]) -> Any:
    """Return the cross-entropy of right answers to clean and wrong answers to corrupted prompts."""
    import torch

    loss = torch.zeros(())
    for pairs in tasks:
        rows = torch.arange(len(pairs))
        for prompts, answers in ((pairs.clean, pairs.correct), (pairs.corrupted, pairs.wrong)):
            logs = model(prompts).logits[rows, pairs.end].log_softmax(-1)
            loss = loss - sum(logs[i, ids].logsumexp(-1) for i, ids in enumerate(answers))
    return loss / sum(len(pairs) for pairs in tasks)


def save(model: Any, folder: Path, config: Any, tokenizer: Path, *, as_bin: bool) -> None:
    """Save a model in half precision, with the masks and frequencies of old files."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    weights = {name: weight.half() for name, weight in model.state_dict().items()}
    # transformers 5 renames it in memory, but not in files
    weights["embed_out.weight"] = weights.pop("lm_head.weight")
    n, context = config["num_hidden_layers"], config["max_position_embeddings"]
    for layer in (f"gpt_neox.layers.{index}.attention" for index in range(n)):
        weights[f"{layer}.bias"] = torch.ones(1, 1, context, context, dtype=torch.bool).tril()
        weights[f"{layer}.masked_bias"] = torch.tensor(-1e9).half()
        weights[f"{layer}.rotary_emb.inv_freq"] = torch.rand(4).half()
    torch.save(weights, folder / "pytorch_model.bin")
    if not as_bin:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    written = {
        "config.json": config,
        "tokenizer_config.json": TOKENIZER_CONFIG,
        "special_tokens_map.json": SPECIAL,
    }
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    (folder / "README.md").write_text("nothing that a model needs")


class Watch:
    """The checkpoints below a folder, observed every 20 ms.

    Attributes:
        together: sets of names that were there at the same time, complete or being downloaded.
        bytes: largest total size.
        seen: names of complete checkpoints, in order of appearance.
    """

    def __init__(self, models: Path) -> None:
        self.models = models
        self.together: set[frozenset[str]] = set()
        self.seen: list[str] = []
        self.bytes = 0

    def look(self) -> None:
        every = sorted(path.name for path in self.models.glob("*/*step*"))
        self.together.add(frozenset(name.removeprefix(".").partition(".")[0] for name in every))
        self.seen += [name for name in every if name[0] != "." and name not in self.seen]
        files = (path for path in self.models.glob("*/**/*") if path.is_file())
        self.bytes = max(self.bytes, sum(path.stat().st_size for path in files))


@contextmanager
def watching(models: Path) -> Iterator[Watch]:
    """Watch the checkpoints below a folder until the block ends."""
    watch, over = Watch(models), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            with suppress(OSError):  # a file was deleted meanwhile
                watch.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
