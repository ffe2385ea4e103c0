"""The keys that say which models there are, and how the workflow trains them."""

from __future__ import annotations

from circuitlapse.config.fields import FILE_NAME, SEED, STEPS, Section, Steps, key


class Train(Section):
    """The shape of a model that the workflow trains itself (GPT-NeoX, like Pythia)."""

    layers: int = key("Number of layers.", reruns="training", ge=1, le=48, examples=[4])
    heads: int = key(
        "Attention heads per layer; d_model / heads must be a multiple of 8, because rotary "
        "positions turn a quarter of each head, in pairs.",
        reruns="training",
        ge=1,
        le=64,
        examples=[4],
    )
    d_model: int = key(
        "Width of the residual stream.",
        reruns="training",
        ge=8,
        le=4096,
        multiple_of=8,
        examples=[128],
    )
    seed: int = key("Seed of the initial weights.", 1, reruns="training", **SEED)


class Model(Section):
    """One model: a size or a seed, followed across its training steps."""

    name: str = key(
        "Name in paths and tables; each model has its own.",
        reruns="everything of this model",
        examples=["pocket-0.9m"],
        **FILE_NAME,
    )
    label: str = key(
        "Name in figures.",
        reruns="figures",
        min_length=1,
        allowed="text, not empty",
        otherwise="`name`",
    )
    variant_of: str | None = key(
        "Name of the model that this one repeats with other seeds; in figures about seeds only.",
        None,
        reruns="figures",
        examples=["pocket-0.9m"],
        **FILE_NAME,
    )
    train: Train = key("The shape to train.", examples=[{"layers": 4, "heads": 4, "d_model": 128}])
    steps: Steps = key(
        "Training steps to analyse in this model only; ascending, each in training.save_steps.",
        reruns="new steps; tables, figures",
        otherwise="`steps` of the top level",
        **STEPS,
    )

    @property
    def variant(self) -> str:
        """What tells models of one size apart: their initial weights."""
        return f"seed{self.train.seed}"


class Training(Section):
    """How the suite is trained: every model on the same data in the same order (AdamW)."""

    save_steps: Steps = key(
        "Training steps whose weights are saved, ascending; training ends at the last one.",
        reruns="training",
        examples=[[0, 500, 1000]],
        **STEPS,
    )
    batch_size: int = key("Sequences per training step.", 32, reruns="training", ge=1, le=4096)
    sequence_length: int = key("Tokens per sequence.", 48, reruns="training", ge=32, le=256)
    learning_rate: float = key(
        "Peak learning rate of a model 128 wide; that of others falls with their width.",
        1e-3,
        reruns="training",
        gt=0,
        le=1,
    )
    warmup_steps: int = key(
        "Steps over which the learning rate rises to its peak.",
        100,
        reruns="training",
        ge=0,
        le=1_000_000,
    )
    weight_decay: float = key("Weight decay.", 0.01, reruns="training", ge=0, le=1)
    threads: int = key("CPU threads per training job.", 1, reruns="training", ge=1, le=128)
    corpus_sentences: int = key(
        "Sentences in the generated text.", 200_000, reruns="corpus", ge=1000, le=100_000_000
    )
    corpus_seed: int = key("Seed of the generated text.", 1, reruns="corpus", **SEED)
