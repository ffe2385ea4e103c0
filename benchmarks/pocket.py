"""What models of the pocket suite can do, from a finished run of several sizes and seeds.

    make demo CONFIG=config/pocket-seeds.yaml
    python benchmarks/pocket.py            print the table
    python benchmarks/pocket.py --write    put it into docs/pocket.md, too

To read the table, of the last step of each model:

- `ioi`, `gp`: logit differences; `gt`, `sva`: differences of probability; `accuracy`: that of IOI.
- `induction`, `previous`: the best head, by the smallest of its scores at three lengths.
- `direct effect`: share of the fall of the logit difference that one head carries to the logits, of
  the name mover (NM) or copy-suppression head (CS) that has most of it.
- `S-inhibition`: the same through the queries of name movers, of any head; then the signal by which
  it passes the test.
- `CPU s`: of training, on one thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from measuring import machine

from circuitlapse.config import load_config
from circuitlapse.config.document import with_text
from circuitlapse.config.schema import Config
from circuitlapse.paths import Paths
from circuitlapse.types import Role

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/pocket.md"
COMMAND = "python benchmarks/pocket.py --write"
WANTED = {"ioi": 2.0, "accuracy": 0.9, "gp": 2.0, "gt": 0.4, "sva": 0.6, "induction": 0.5}
WANTED |= {"previous": 0.5}
"""What every model of the two larger sizes should reach."""
SUFFIX = {Role.NAME_MOVER: ", NM", Role.COPY_SUPPRESSION: ", CS"}
"""Roles with a direct effect on the logits -> what marks them in the table."""
TASKS = {"ioi": "ioi", "gendered_pronoun": "gp", "greater_than": "gt", "sva": "sva"}


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--config", type=Path, default=ROOT / "config/pocket-seeds.yaml")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    asked = parser.parse_args()
    config = load_config({}, [ROOT / "config/config.yaml", asked.config])
    table = seeds_table(config)
    lines = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    rows = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    text = f"{rows}\n\n{missed(table)}\n\nMeasured on {machine('cpu')}."
    print(text)
    if asked.write:
        page = with_text(PAGE.read_text(encoding="utf-8"), f"\n{text}\n\n", command=COMMAND)
        PAGE.write_text(page, encoding="utf-8")


def seeds_table(config: Config) -> pd.DataFrame:
    """Return a row per model, at its last step, from the tables of a finished run."""
    paths = Paths(config.results)
    tables = {
        name: pd.read_parquet(ROOT / paths.table.format(table=name))
        for name in ("behaviour", "components", "roles", "s2i")
    }
    rows = []
    for model in config.models:
        own = {
            name: table[(table["model"] == model.name) & (table["step"] == model.steps[-1])]
            for name, table in tables.items()
        }
        rows.append(_row(model.name, model.train.seed, own, _cpu_seconds(paths, model.name)))
    return pd.DataFrame(rows)


def _row(model: str, seed: int, own: dict[str, pd.DataFrame], cpu_s: float) -> dict[str, object]:
    behaviour = own["behaviour"].set_index("task")
    values = behaviour["value"]
    best = own["components"].groupby("score")["value"].max()
    queries = own["components"].query("score == 'e_nm_q'").set_index(["layer", "head"])["value"]
    row: dict[str, object] = {"model": model.partition("-seed")[0], "seed": seed}
    row |= {short: values[task] for task, short in TASKS.items()}
    row["accuracy"] = behaviour["accuracy"]["ioi"]
    row |= {"induction": best["induction"], "previous": best["prev_token"]}
    row |= {
        "direct effect": _mover(own["roles"]),
        "S-inhibition": _inhibition(queries, own["s2i"]),
    }
    return row | {"CPU s": round(cpu_s)}


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _mover(roles: pd.DataFrame) -> str:
    """Return the name mover or copy-suppression head with the largest effect on the logits."""
    movers = roles[roles["role"].isin((*SUFFIX,))]
    if movers.empty:
        return "no head"
    best = movers.loc[movers["effect"].idxmin()]
    return f"{-100 * best['effect']:.0f} % (a{best['layer']}.h{best['head']}){SUFFIX[best['role']]}"


def _inhibition(effects: pd.Series, tested: pd.DataFrame) -> str:
    """Return the head with the largest effect on the queries of name movers, and its signals."""
    if effects.isna().all():
        return "no name mover"
    layer, head = effects.idxmin()
    own = tested[(tested["layer"] == layer) & (tested["head"] == head)]
    signals = [name for name in ("position", "token") if own[f"by_{name}"].any()]
    share = f"{-100 * effects.min():.0f} % (a{layer}.h{head})"
    return f"{share}, {' and '.join(signals)}" if signals else f"{share}, no signal"


def _cpu_seconds(paths: Paths, model: str) -> float:
    timing = pd.read_csv(ROOT / paths.benchmarks / f"train_suite/{model}.tsv", sep="\t")
    return float(timing["cpu_time"].iloc[-1])


def missed(table: pd.DataFrame) -> str:
    """Return which of the wanted numbers a model of the two larger sizes does not reach."""
    larger = table[table["model"] != table["model"].iloc[0]]
    found = [
        f"{row['model']} seed {row['seed']}: {name} {row[name]:.2f} (wanted {least})"
        for _, row in larger.iterrows()
        for name, least in WANTED.items()
        if row[name] < least
    ]
    listed = "\n".join(f"- {line}" for line in found) or "- nothing"
    return f"What the two larger sizes do not reach:\n\n{listed}"


if __name__ == "__main__":
    main()
