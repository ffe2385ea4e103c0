"""How long every rule takes, and the memory that its jobs need, beside what `make plan` says.

    python benchmarks/workflow.py tokenizer.json --sizes 160m
    python benchmarks/workflow.py tokenizer.json --sizes 160m 410m --jobs 2 --config fast.yaml
    python benchmarks/workflow.py tokenizer.json --tiny --prompts 10        # to try it on a CPU

Models in the shapes of Pythia are taught the four tasks for a moment, so that they have circuits.
A hub on this machine serves two steps of each, and the workflow runs as for the paper.
`tokenizer.json` is that of Pythia. Options after `--` go to Snakemake. To read the table:

- `s per job`: mean over the jobs of a rule; `planned`: the same by `circuitlapse.plan`.
- `ram GB`, `gpu GB`: the most that one job held; of a GPU, CUDA's own memory included.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from measuring import Row, keep, machine, matmul_precision, show
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel

from circuitlapse.config.__main__ import DEFAULT, checked
from circuitlapse.io.corpus_files import read_tokenizer
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.plan.cost import PYTHIA_SHAPES
from circuitlapse.plan.hardware import GPUS, Machine
from circuitlapse.plan.requests import REQUESTS
from circuitlapse.plan.stages import stages
from circuitlapse.tasks.builtin import build_task

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fake_hub import FakeHub  # noqa: E402 - the tests are no package that is installed
from tests.workflow.published import PUBLISHED, SMALL, save  # noqa: E402

TASKS = ("ioi", "gendered_pronoun", "greater_than", "sva")
LESSONS = {512: 1, 1000: 3}
"""Updates of the weights before each step, in multiples of `--lessons`."""
LEARNING_RATE, TAUGHT_PROMPTS = 3e-4, 64
TEXT = "The {} dog saw that John and Mary were at the store, and so he gave a {} bone to her. "
WORDS = ("old", "young", "brown", "loud", "thin", "slow", "tall", "kind", "wise", "poor")


def parsed() -> argparse.Namespace:
    """Return the options."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog="Options after -- go to Snakemake."
    )
    parser.add_argument("tokenizer", type=Path, help="tokenizer.json of Pythia")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--sizes", nargs="+", choices=PYTHIA_SHAPES, default=["70m"])
    parser.add_argument("--jobs", type=int, help="jobs at once on a GPU; default: auto")
    parser.add_argument("--prompts", type=int, default=200, help="prompts per task")
    parser.add_argument("--lessons", type=int, default=20, help="see LESSONS; fewer are faster")
    parser.add_argument("--tiny", action="store_true", help="tiny models in place of these sizes")
    parser.add_argument("--config", type=Path, help="overrides keys of the configuration")
    parser.add_argument("--limit", type=float, help="seconds until the workflow is stopped")
    parser.add_argument("--log", type=Path, help="file for the output of Snakemake")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    parser.add_argument("--rows", type=Path, help="append every row to this file, as JSON")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    options.snakemake = arguments[end + 1 :]
    return options


def main() -> None:
    """Teach models, run the workflow on them, and print one table."""
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), options)
        with matmul_precision("tf32"):
            hub = run.serve()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what teaching has used is for the jobs
        with GpuMemory.watched() as memory:
            wall_s = run.go(hub)
        hub.close()
        rows = list(run.rows(memory))
    for row in rows:
        keep(row | {"jobs at once": options.jobs, "wall s": round(wall_s, 1)}, options.rows)
    print(f"{machine(options.device)}; {wall_s:.0f} s in all\n")
    show(rows, markdown=options.markdown)


@dataclass(frozen=True)
class Run:
    """One run of the workflow.

    Attributes:
        folder: for everything that it makes.
        options: of the command line.
    """

    folder: Path
    options: argparse.Namespace

    def serve(self) -> FakeHub:
        """Teach all models, and start a hub that has them."""
        hub, lessons = FakeHub(), self._lessons()
        for size in self.options.sizes:
            shape = _shape(size, tiny=self.options.tiny)
            for step, model in taught(shape, lessons, self.options):
                files = self.folder / f"{size}-{step}"
                save(model, files, shape, self.options.tokenizer, as_bin=False)
                (files / "pytorch_model.bin").unlink()
                hub.add(_repo(size), f"step{step}", files)
        return hub

    def _lessons(self) -> list[PromptPairs]:
        known = read_tokenizer(self.options.tokenizer)
        counts = {name: None if name == "gendered_pronoun" else TAUGHT_PROMPTS for name in TASKS}
        tasks = [build_task(n, known, builder=n, n_prompts=counts[n], seed=7) for n in TASKS]
        return [PromptPairs.from_task(task).to(self.options.device) for task in tasks]

    def go(self, hub: FakeHub) -> float:
        """Run the workflow; return the seconds that it took.

        A run that fails or takes too long is said, and what it finished is still measured.
        """
        config = self.configure()
        command = [sys.executable, "-m", "snakemake"]
        command += ["--snakefile", str(ROOT / "workflow/Snakefile")]
        command += ["--directory", str(self.folder), "--configfile", str(config)]
        command += ["--workflow-profile", str(ROOT / "workflow/profiles/local")]
        command += ["--cores", str(os.cpu_count()), *self.options.snakemake]
        home = {"HF_ENDPOINT": hub.address, "HF_HOME": str(self.folder / "huggingface")}
        quiet = {"NO_PROXY": "127.0.0.1,localhost", "OMP_NUM_THREADS": "1"}
        start = time.perf_counter()
        with (self.options.log or self.folder / "log").open("w+") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | home | quiet, stdout=log, stderr=log
            )
            try:
                process.wait(self.options.limit)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
            if process.returncode:
                log.seek(0)
                print(f"exit code {process.returncode}\n{log.read()[-3000:]}", file=sys.stderr)
        return time.perf_counter() - start

    def configure(self) -> Path:
        """Write the configuration, and the text that it needs."""
        texts = (TEXT.format(one, other) * 6 for one in WORDS for other in WORDS for _ in range(2))
        (self.folder / "text.txt").write_text("\n\n".join(texts))
        steps, prompts = list(LESSONS), self.options.prompts
        models = [
            {"name": f"pythia-{size}", "label": size, "hub": {"repo": _repo(size)}}
            for size in self.options.sizes
        ]
        config = {
            "suite": "pythia",
            "results": "results",
            "steps": steps,
            "models": models,
            "transfer": {"steps": steps},
            "checkpoints": {"at_once": 4},
            "tasks": [
                {"name": name, "n_prompts": None if name == "gendered_pronoun" else prompts}
                for name in TASKS
            ],
            "circuits": {"ig_steps": 30, "max_fraction": 0.1},
            "heads": {"text": str(self.folder / "text.txt"), "copy_ln": "folded"},
            "compute": {"device": self.options.device, "memory_mb": None}
            | {"jobs_per_gpu": self.options.jobs or "auto"},
        }
        for section, keys in self._overrides().items():
            known = config.get(section)
            config[section] = known | keys if isinstance(known, dict) else keys
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def _overrides(self) -> dict[str, Any]:
        file = self.options.config
        return {} if file is None else yaml.safe_load(file.read_text())

    def rows(self, memory: GpuMemory) -> Iterator[Row]:
        """Yield what each rule took, the rules that run models with their plan."""
        planned, timings = self._planned(), self.folder / "results/benchmarks"
        per_rule: dict[str, list[pd.DataFrame]] = {}
        for file in sorted(timings.glob("**/*.tsv")):
            rule = file.relative_to(timings).parts[0].removesuffix(".tsv")
            per_rule.setdefault(rule, []).append(pd.read_csv(file, sep="\t", na_values="-"))
        for rule, parts in per_rule.items():
            jobs = pd.concat(parts)
            row = {"rule": rule, "jobs": len(jobs), "s per job": round(jobs["s"].mean(), 1)}
            row["cpu s per job"] = round(jobs["cpu_time"].mean(), 1)
            row["planned"] = round(planned[rule], 1) if rule in planned else None
            row["ram GB"] = round(jobs["max_rss"].max() / 1e3, 1)
            yield row | {"gpu GB": memory.gb.get(rule)}

    def _planned(self) -> dict[str, float]:
        """Return the seconds of a job by the plan, mean over models; nothing for a CPU."""
        if not self.options.device.startswith("cuda"):
            return {}
        name = torch.cuda.get_device_name(self.options.device).lower()
        gpu = next(gpu for known, gpu in GPUS.items() if known in name)
        config = checked([ROOT / DEFAULT, self.folder / "config.yaml"])
        plan = (
            pd.DataFrame(stages(config, Machine.of(gpu, config.compute)))
            .groupby("rule")[["hours", "jobs"]]
            .sum()
        )
        return dict(3600 * plan["hours"] / plan["jobs"])


def _repo(size: str) -> str:
    return f"EleutherAI/pythia-{size}"


def _shape(size: str, *, tiny: bool) -> dict[str, Any]:
    shape = PYTHIA_SHAPES[size]
    width = {"hidden_size": shape.d_model, "intermediate_size": 4 * shape.d_model}
    depth = {"num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
    return dict(PUBLISHED) | (SMALL if tiny else width | depth)


def taught(
    shape: Mapping[str, Any], lessons: list[PromptPairs], options: argparse.Namespace
) -> Iterator[tuple[int, PreTrainedModel]]:
    """Yield a model at two steps, taught to tell clean prompts from corrupted ones."""
    torch.manual_seed(0)
    with torch.device(options.device):
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**shape)).float().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    targets = [_lesson(pairs, shape["vocab_size"]) for pairs in lessons]
    for step, times in LESSONS.items():
        for _ in range(times * options.lessons):
            optimizer.zero_grad()
            for tokens, end, right in targets:
                logs = model(tokens).logits[torch.arange(len(end)), end].log_softmax(-1)
                (-(logs + right).logsumexp(-1).mean()).backward()
            optimizer.step()
        yield step, model


def _lesson(pairs: PromptPairs, n_vocab: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return both prompts of all pairs, where they end, and 0 for right answers, else -inf."""
    answers = [*pairs.correct, *pairs.wrong]
    right = torch.full((len(answers), n_vocab), -torch.inf)
    for row, tokens in zip(right, answers, strict=True):
        row[torch.as_tensor(tokens).cpu()] = 0
    tokens, end = torch.cat([pairs.clean, pairs.corrupted]), pairs.end.repeat(2)
    return tokens, end, right.to(tokens.device)


@dataclass
class GpuMemory:
    """The most GPU memory that one process of each rule held, as `nvidia-smi` reports it."""

    gb: dict[str, float] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def watched(cls) -> Iterator[GpuMemory]:
        """Look twice a second, until the block ends; without a GPU, see nothing."""
        memory, over = cls(), threading.Event()
        if not torch.cuda.is_available():
            yield memory
            return

        def look() -> None:
            while not over.wait(0.5):
                memory.look()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        yield memory
        over.set()
        thread.join()

    def look(self) -> None:
        """Ask once."""
        asked = ["nvidia-smi", "--query-compute-apps=pid,used_memory"]
        asked.append("--format=csv,noheader,nounits")
        answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        for pid, mb in re.findall(r"^(\d+), (\d+)", answer, re.MULTILINE):
            rule = _rule_of(pid)
            if rule:
                self.gb[rule] = max(self.gb.get(rule, 0.0), round(int(mb) / 1e3, 1))


def _rule_of(pid: str) -> str | None:
    """Return the rule whose script a process runs; None if it is another one, or over."""
    try:
        command = Path("/proc", pid, "cmdline").read_text()
    except OSError:
        return None
    return next((rule for rule in REQUESTS if f"{rule}.py" in command), None)


if __name__ == "__main__":
    main()
