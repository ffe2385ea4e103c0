"""The keys that say which models there are, and how the workflow trains them."""

from __future__ import annotations

from circuitlapse.config.fields import FILE_NAME, SEED, STEPS, Section, Steps, key
from circuitlapse.config.schedules import TOKENS_PER_STEP, Schedule


class Train(Section):
    """The shape of a model that the workflow trains itself (GPT-NeoX, like Pythia)."""

    layers: int = key("Number of layers.", reruns="training", ge=1, le=48, examples=[4])
    heads: int = key(
        "Attention heads per layer; d_model / heads must be even, because rotary positions turn "
        "the dimensions of a head in pairs.",
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
    data_seed: int | None = key(
        "Seed of the order of the training sequences; null takes the order of the text.",
        None,
        reruns="training",
        **SEED,
    )


class Hub(Section):
    """A published model: each of its training steps is a revision of a repository."""

    repo: str = key(
        "Repository on the Hugging Face hub.",
        reruns="fetching",
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
        allowed="OWNER/NAME, such as EleutherAI/pythia-70m",
        examples=["EleutherAI/pythia-70m"],
    )
    revision: str = key(
        "Revision of a step; {step} stands for its number.",
        "step{step}",
        reruns="fetching",
        min_length=1,
        allowed="text, not empty",
    )
    folder: str | None = key(
        "A folder that has the files of a step already; {step} stands for its number. It is read "
        "in place of the repository.",
        None,
        reruns="fetching",
        examples=["/data/pythia-70m/step{step}"],
    )
    tokens_per_step: int = key(
        "Tokens that the model saw in one training step.",
        reruns="activations",
        ge=1,
        le=10**9,
        examples=[4_194_304],
        otherwise=f"{TOKENS_PER_STEP} for EleutherAI/pythia; required for others",
    )

    def source(self, step: int) -> dict[str, str]:
        """Return where the files of a step are: a repo and its revision, or a folder."""
        if self.folder is not None:
            return {"folder": self.folder.replace("{step}", str(step))}
        return {"repo": self.repo, "revision": self.revision.replace("{step}", str(step))}


class Checkpoints(Section):
    """Published models on disk, while they are analysed."""

    keep: bool = key(
        "Keep them; otherwise each is deleted as soon as no job needs it.",
        False,
        reruns="if true, fetching, and what comes after it; if false, nothing",
    )
    at_once: int = key(
        "Most training steps of all models together that are fetched before the first of them is "
        "done with.",
        4,
        reruns="nothing",
        ge=1,
        le=10_000,
    )


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
    train: Train | None = key(
        "The shape to train; not together with hub.",
        None,
        examples=[{"layers": 4, "heads": 4, "d_model": 128}],
    )
    hub: Hub | None = key(
        "Where a published model is; not together with train.",
        None,
        examples=[{"repo": "EleutherAI/pythia-70m"}],
    )
    schedule: Schedule | None = key(
        "Name of a list of steps to analyse in this model only; config/README.md has them.",
        None,
        reruns="new steps; tables, figures",
    )
    circuits: bool = key(
        "Find circuits, score heads and trace algorithms; otherwise only behaviour is measured.",
        True,
        reruns="circuits",
    )
    steps: Steps = key(
        "Training steps to analyse in this model only, in place of a schedule; ascending, each "
        "saved or published.",
        reruns="new steps; tables, figures",
        otherwise="`schedule`, or that of the top level",
        **STEPS,
    )

    @property
    def variant(self) -> str:
        """What tells models of one size apart: their initial weights, or their repository."""
        if self.train is not None:
            order = self.train.data_seed
            return f"seed{self.train.seed}" + (f"-data{order}" if order is not None else "")
        return self.hub.repo.rpartition("/")[2] if self.hub is not None else ""


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
