"""The numbers in docs/story.md, from the tables of a finished `make demo`.

    python benchmarks/story.py            print every number
    python benchmarks/story.py --write    put them into docs/story.md

The page marks a number as `<!-- name --> 0.93 <!-- -->`. `pytest -m demo` checks that the page says
what the tables say.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from circuitlapse.config import load_config
from circuitlapse.config.schema import Config
from circuitlapse.paths import Paths
from circuitlapse.types import S2I_SIGNALS, Role, Verdict

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/story.md"
DIRECT = {Role.NAME_MOVER: "name mover", Role.COPY_SUPPRESSION: "copy suppression"}
"""Roles with a direct effect on the logits -> their names on the page."""
NUMBER = re.compile(r"<!-- (?P<name>[a-z0-9_ .]+) -->.*?<!-- -->", re.DOTALL)


@dataclass(frozen=True)
class Run:
    """A finished run of config/config.yaml."""

    config: Config

    @cached_property
    def sizes(self) -> list[str]:
        """The models, from the smallest."""
        return [model.name for model in self.config.models]

    @cached_property
    def last(self) -> int:
        """The last training step."""
        return self.config.models[0].steps[-1]

    def table(self, name: str) -> pd.DataFrame:
        """Read one table."""
        return pd.read_parquet(ROOT / Paths(self.config.results).table.format(table=name))

    def best(self, score: str) -> pd.DataFrame:
        """Return the best value of a head score [model, step]."""
        table = self.table("components")
        rows = table[table["score"] == score]
        return rows.groupby(["model", "step"])["value"].max().unstack()


def _onset(run: Run, task: str) -> pd.Series:
    """Return the first step with an accuracy of 0.9 on a task, per model."""
    table = run.table("behaviour")
    rows = table[(table["task"] == task) & (table["accuracy"] >= 0.9)]
    return rows.groupby("model")["step"].min().reindex(run.sizes)


def _steps(values: pd.Series) -> str:
    return ", ".join("never" if pd.isna(step) else f"{int(step)}" for step in values)


def _circuits(run: Run) -> pd.DataFrame:
    return run.table("circuit_summary").query("status == 'ok'")


def _induction_onset(run: Run) -> str:
    rows = run.best("induction").reindex(run.sizes)
    return _steps((rows >= 0.4).apply(lambda row: row.idxmax() if row.any() else None, axis=1))


def _at_the_end(run: Run, score: str) -> str:
    return ", ".join(f"{x:.2f}" for x in run.best(score)[run.last].reindex(run.sizes))


def _mover(run: Run) -> str:
    """Return the head with the largest direct effect on the logits at the last step, per model."""
    roles = run.table("roles").query("step == @run.last")
    movers = roles[roles["role"].isin(DIRECT)]
    best = movers.loc[movers.groupby("model")["effect"].idxmin()].set_index("model")
    return ", ".join(
        f"a{row.layer}.h{row.head} ({DIRECT[row.role]}, {-100 * row.effect:.0f} %)"
        for row in best.reindex(run.sizes).itertuples()
    )


def _smallest_p(run: Run) -> str:
    """Return the smallest p value of all shares of the IOI algorithm, over models and steps."""
    return f"{run.table('algorithm_consistency')['p'].min():.2f}"


def _inhibition(run: Run) -> str:
    """The largest share of the drop through name movers' queries at the last step, per model."""
    rows = run.table("components").query("score == 'e_nm_q' and step == @run.last")
    least = rows.groupby("model")["value"].min().reindex(run.sizes)
    return ", ".join("undefined" if pd.isna(x) else f"{-100 * x:.0f} %" for x in least)


def _attention_of_it(run: Run) -> str:
    """Return how much these heads attend to the second mention of the subject."""
    table = run.table("components").query("step == @run.last")
    heads = table.pivot_table(index=["model", "layer", "head"], columns="score", values="value")
    most = heads.loc[heads.groupby("model")["e_nm_q"].idxmin()].droplevel(["layer", "head"])
    return ", ".join(f"{x:.2f}" for x in most["attn_s2"].reindex(run.sizes))


def _flipped(run: Run, flip: str) -> str:
    """Return the change of the logit difference, where a flip misleads an S-inhibition head."""
    rows = run.table("s2i").query("is_s2i and step == @run.last")
    change = rows[rows["flip"] == flip].groupby("model")["d_logit_diff"].min().reindex(run.sizes)
    return ", ".join("undefined" if pd.isna(x) else f"{round(100 * x) + 0} %" for x in change)


def _transferred(run: Run, *, to_last: bool) -> str:
    """Return the range of faithfulness of IOI circuits between the last step and steps 600 to 1450.

    It is that of the middle size.
    """
    table, earlier = _ioi_transfers(run, "own"), range(600, 1451)
    source, target = table["circuit_step"], table["step"]
    early, late = (source, target) if to_last else (target, source)
    found = table.loc[early.isin(earlier) & (late == run.last), "f_raw"]
    return f"{found.min():.2f} to {found.max():.2f}"


def _random_transferred(run: Run) -> str:
    """Return the range of faithfulness of random circuits of the same sizes, at all steps."""
    found = _ioi_transfers(run, "random")["f_raw"].dropna()
    return f"{found.min():.2f} to {found.max():.2f}"


def _ioi_transfers(run: Run, control: str) -> pd.DataFrame:
    """Return the rows of the table `transfer` about IOI circuits on IOI, of the middle size."""
    table = run.table("transfer").query("task == 'ioi' and circuit_task == 'ioi'")
    return table[(table["model"] == run.sizes[1]) & (table["control"] == control)]


def _other_tasks(run: Run) -> str:
    """Return how many circuits of the last step are faithful on another task than their own."""
    table = run.table("transfer").query("control == 'own' and task != circuit_task")
    table = table[(table["step"] == run.last) & (table["circuit_step"] == run.last)]
    n_faithful = (table["f_raw"] >= run.config.circuits.threshold).sum()
    return f"{n_faithful} of {len(table)}"


def _neighbours(run: Run) -> pd.DataFrame:
    table = run.table("stability").query("level == 'node' and weighting == 'none'")
    return table.query("comparison == 'consecutive' and changed.notna()")


def _changes(run: Run) -> str:
    """Return how many pairs of neighbouring steps differ by more than the noise floor, per size."""
    found = _neighbours(run).groupby("model")["changed"].agg(["sum", "count"])
    return ", ".join(f"{int(n)} of {of}" for n, of in found.reindex(run.sizes).to_numpy())


def _verdicts(run: Run) -> str:
    claims = run.table("claims")
    counts = claims.loc[claims["subject"] == "all", "verdict"].value_counts()
    return ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in Verdict)


def _path_changes(run: Run) -> str:
    claims = run.table("claims")
    rows = claims[(claims["claim"] == "algorithm_remains") & claims["value"].notna()]
    return ", ".join(f"{value:.2f}" for value in rows["value"])


def _certified(run: Run, column: str) -> str:
    rows = run.table("circuit_summary").dropna(subset=[column])
    return f"{(rows[column] > 0.05).mean():.0%}".replace("%", " %")


def _needed_edges(run: Run) -> str:
    rows = run.table("circuit_summary")
    return f"{rows['edges_needed'].sum() / rows['edges_tested'].sum():.0%}".replace("%", " %")


def _correlations(run: Run) -> str:
    """Return the range of correlations of circuit and model size, in edges."""
    found = run.table("size_correlation").query("level == 'edge' and x == 'log_params'")["r"]
    return f"{found.min():.2f} to {found.max():.2f}"


FACTS: Mapping[str, Callable[[Run], str]] = {
    "phase 1": lambda run: str(run.config.training.phases[0].steps),
    "ioi onset": lambda run: _steps(_onset(run, "ioi")),
    "gp onset": lambda run: _steps(_onset(run, "gendered_pronoun")),
    "induction onset": _induction_onset,
    "induction": lambda run: _at_the_end(run, "induction"),
    "previous": lambda run: _at_the_end(run, "prev_token"),
    "cspa": lambda run: _at_the_end(run, "cspa"),
    "n circuits": lambda run: str(len(_circuits(run))),
    "edge share": lambda run: f"{100 * _circuits(run)['edge_fraction'].median():.0f} %",
    "held out": lambda run: f"{_circuits(run)['f_raw_held_out'].mean():.2f}",
    "in sample": lambda run: f"{_circuits(run)['f_raw'].mean():.2f}",
    "mover": _mover,
    "smallest p": _smallest_p,
    "inhibition": _inhibition,
    "attention": _attention_of_it,
    "token flipped": lambda run: _flipped(run, S2I_SIGNALS["token"]),
    "position flipped": lambda run: _flipped(run, S2I_SIGNALS["position"]),
    "to the last": lambda run: _transferred(run, to_last=True),
    "from the last": lambda run: _transferred(run, to_last=False),
    "random transfers": _random_transferred,
    "other tasks": _other_tasks,
    "next step": lambda run: f"{_neighbours(run)['jaccard_matched'].median():.2f}",
    "changes": _changes,
    "correlations": _correlations,
    "verdicts": _verdicts,
    "path changes": _path_changes,
    "not told apart": lambda run: _certified(run, "q_equivalence"),
    "needed edges": _needed_edges,
}
"""Every number of the page. Of several, the first is that of the smallest model."""


def with_numbers(page: str, run: Run) -> str:
    """Return the page with the numbers of a run."""
    return NUMBER.sub(
        lambda found: f"<!-- {found['name']} --> {FACTS[found['name']](run)} <!-- -->", page
    )


def demo() -> Run:
    """Return the run of the default configuration."""
    return Run(load_config({}, [ROOT / "config/config.yaml"]))


def main() -> None:
    """Print the numbers, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    asked, run = parser.parse_args(), demo()
    for name, fact in FACTS.items():
        print(f"{name}: {fact(run)}")
    if asked.write:
        PAGE.write_text(with_numbers(PAGE.read_text(encoding="utf-8"), run), encoding="utf-8")


if __name__ == "__main__":
    main()
