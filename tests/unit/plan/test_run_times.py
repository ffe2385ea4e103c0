from __future__ import annotations

from pathlib import Path

import pytest

from circuitlapse.paths import Paths, timings_of
from circuitlapse.plan.run_times import RunTimes, where_to_look


def took(log: str, wall_s: float, cpu_s: float) -> None:
    timings_of(log).parent.mkdir(parents=True, exist_ok=True)
    timings_of(log).write_text(f"s\tcpu_time\tmax_rss\n{wall_s}\t{cpu_s}\t1.0\n")


@pytest.fixture
def logs(tmp_path: Path) -> list[tuple[str, str]]:
    """Two jobs of `score_heads` and one of each of 12 plots."""
    jobs = [("score_heads", f"score_heads/m/step{step}") for step in (0, 1)]
    jobs += [(f"plot_{n}", f"plot_{n}") for n in range(12)]
    return [(rule, str(tmp_path / f"logs/{job}.log")) for rule, job in jobs]


def rows_of(table: str) -> dict[str, list[float]]:
    rows = {}
    for line in table.splitlines()[2:]:
        *name, jobs, wall_s, cpu_s = line.split()
        rows[" ".join(name)] = [float(number) for number in (jobs, wall_s, cpu_s)]
    return rows


def test_a_run_ends_with_what_its_rules_took_and_the_largest_first(logs):
    times = RunTimes()
    times.start(logs)
    for number, (_, log) in enumerate(logs):
        took(log, 10 - number / 2, 1.5)
    table = times.table()
    rows = rows_of(table)
    assert list(rows)[:2] == ["score_heads", "plot_0"]
    assert rows["score_heads"] == [2, 19.5, 3]
    assert rows["3 other rules"] == [3, 4.5 + 4 + 3.5, 4.5]
    assert rows["all jobs"] == [14, sum(10 - number / 2 for number in range(14)), 21]
    assert len(rows) == 12
    assert len({len(line) for line in table.splitlines()[1:]}) == 1


def test_jobs_of_an_earlier_run_do_not_count(logs):
    for _, log in logs:
        took(log, 100, 100)
    times = RunTimes()
    times.start(logs[:2])
    assert times.table() == ""
    took(logs[0][1], 1, 1)
    assert rows_of(times.table())["all jobs"] == [1, 1, 1]


def test_the_time_of_the_run_is_that_since_its_start(logs, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    times = RunTimes()
    clock[0] = 200
    times.start(logs)
    took(logs[0][1], 1, 1)
    clock[0] = 263.4
    assert times.table().startswith("The run took 63 s.")


def test_a_run_says_where_the_figures_are_once_all_are_drawn(tmp_path):
    paths = Paths(str(tmp_path))
    (tmp_path / "figures").mkdir()
    for name in ("figures/a.png", "figures/b.png", "explorer.html"):
        assert where_to_look(paths, ["a", "b"], []) == ""
        (tmp_path / name).touch()

    def said(files):
        return where_to_look(paths, ["a", "b"], files).splitlines()

    page = f"Figures are in {tmp_path}/figures; all on one page: make report"
    explorer = f"To look into the circuits, open {tmp_path}/explorer.html in a browser"
    assert said([]) == [page, explorer]
    assert said(["my.yaml"]) == [f'{page} CONFIG="my.yaml"', explorer]
    assert said(["a.yaml", "b.yaml"]) == [f"Figures are in {tmp_path}/figures", explorer]
