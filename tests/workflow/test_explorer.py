"""The explorer of a finished run, opened from disk in a real browser."""

import numpy as np
import pandas as pd
from playwright.sync_api import Browser

from tests.browser.conftest import Opened

RESULTS = "results-smoke"


def test_the_explorer_of_a_run_shows_what_its_tables_say(finished, browser: Browser, tmp_path):
    tables = finished.folder / RESULTS / "tables"
    edges = pd.read_parquet(tables / "circuit_edges.parquet")
    last = edges[(edges["task"] == "sva") & (edges["step"] == 400)].reset_index(drop=True)
    path = tmp_path / "explorer.html"
    path.write_bytes((finished.folder / RESULTS / "explorer.html").read_bytes())
    page = Opened(browser.new_page(), path).go("#task=sva&step=400&most=1000")
    assert page.page.locator(".edge").count() == len(last) > 0
    saved = pd.read_csv(page.saved("edges"), keep_default_na=False)
    assert list(saved.columns) == list(last.columns)
    for name in ("source", "target", "port", "order", "step", "tokens"):
        assert saved[name].tolist() == last[name].tolist()
    np.testing.assert_allclose(saved["score"], last["score"], rtol=5.1e-4)
    page.go("#task=sva&step=0")
    assert "the model does not do the task" in page.text("#undefined")
    assert page.complaints == []
    assert page.asked_for_nothing()
