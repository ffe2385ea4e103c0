"""What a reader does with the explorer: play, compare, pick, find, follow a link."""

from __future__ import annotations

import pandas as pd
import pytest

from circuitlapse.explorer.run_data import Described
from circuitlapse.schemas import SCHEMAS
from tests.explorer_tables import STEPS, TASKS, Size, described, run

TABLES = run()
LAST = "#model=large&task=ioi&step=10000"


def edges_at(step, task="ioi", model="large"):
    edges = TABLES["circuit_edges"]
    rows = edges[(edges["model"] == model) & (edges["task"] == task) & (edges["step"] == step)]
    ports = rows["port"].map(lambda port: port and f"<{port}>")
    return set(rows["source"] + "->" + rows["target"] + ports)


def drawn(opened):
    there = "[...document.querySelectorAll('.edge:not(.gone)')].map(e => e.dataset.edge)"
    return set(opened.page.evaluate(there))


def places(opened):
    nodes = "[...document.querySelectorAll('.node')]"
    code = f"{nodes}.map(one => [one.dataset.node, one.getAttribute('transform')])"
    return dict(opened.page.evaluate(code))


def test_the_page_opens_at_the_end_of_the_largest_model(opened):
    page = opened(TABLES)
    assert page.page.evaluate("location.hash") == ""
    assert page.page.input_value("#model") == "large"
    assert page.text("#step-words") == "step 10,000 (10M tokens)"
    assert drawn(page) == edges_at(10000)
    assert page.text("#forms").startswith("First circuit: step 100")


def test_heads_keep_their_places_while_the_film_plays(opened):
    page = opened(TABLES)
    before = places(page)
    page.page.clock.install()
    page.page.click("#play")
    assert page.text("#step-words").startswith("step 0")
    assert "the model does not do the task" in page.text("#undefined")
    assert drawn(page) == set()
    page.page.clock.run_for(1000)
    assert page.text("#step-words").startswith("step 100 ")
    assert drawn(page) == edges_at(100)
    page.page.clock.run_for(2000)
    assert page.text("#step-words").startswith("step 10,000")
    assert page.text("#play") == "▶ Play"
    assert places(page) == before


def test_two_steps_are_compared(opened):
    page = opened(TABLES, LAST)
    page.page.click("#what-changed")
    now, then = edges_at(10000), edges_at(1000)
    text = page.text("#comparison")
    assert f"gained by step 10,000: {len(now - then)}" in text
    assert f"lost after step 1,000: {len(then - now)}" in text
    assert f"in both: {len(now & then)}" in text
    jaccard = len(now & then) / len(now | then)
    assert f"{jaccard:.3g}" in text
    assert "noise floor (5 %)\n0.7" in text
    assert page.page.locator(".edge.other").count() == len(then - now)
    assert "compare=step&other=1000" in page.page.evaluate("location.hash")


@pytest.mark.parametrize(
    ("kind", "other", "words"),
    [("task", TASKS[1], "only in gendered_pronoun"), ("model", "large-2", "only in LARGE-2")],
)
def test_tasks_and_models_of_a_size_are_compared(opened, kind, other, words):
    models = {"large": Size(4, 3, 20), "large-2": Size(4, 3, 20), "small": Size(2, 2, 8)}
    page = opened(run(models), LAST, models=described(models))
    page.page.select_option("#compare", kind)
    values = page.page.eval_on_selector_all("#other option", "all => all.map(one => one.value)")
    assert values == [other]
    assert words in page.text("#comparison")


def test_a_step_without_a_circuit_is_never_compared_as_an_empty_one(opened):
    page = opened(TABLES, f"{LAST}&compare=step&other=0")
    assert "the model does not do the task" in page.text("#comparison")
    assert "lost" not in page.text("#comparison")
    assert drawn(page) == edges_at(10000)


def test_the_head_with_the_largest_effect_comes_first_among_roles(opened):
    rows = TABLES["roles"]
    more = rows[rows["head"] == 0].assign(head=1, role="CS", effect=-0.9)
    page = opened({**TABLES, "roles": pd.concat([rows, more], ignore_index=True)}, LAST)
    chips = page.page.locator("#roles .chip").all_inner_texts()
    assert chips == ["3.1: -0.9", "3.0: -0.5", "3.2: -0.25"]
    assert "share of the drop to the corrupted level" in page.text("#roles")


def test_the_legend_has_the_roles_of_drawn_heads_alone(opened):
    rows = TABLES["roles"]
    edges = TABLES["circuit_edges"].query("source != 'a3.h0' and target != 'a3.h0'")
    more = rows[rows["head"] == 0].assign(role="CS")
    roles = pd.concat([rows[rows["head"] != 0], more], ignore_index=True)
    page = opened({**TABLES, "roles": roles, "circuit_edges": edges}, LAST)
    assert "name mover" in page.text("#legend")
    assert "copy suppression" not in page.text("#legend")
    page.page.locator("#roles .chip.outside").first.click()
    assert page.text("#picked h2") == "Head 3.0"
    assert "copy suppression" in page.text("#legend")


def test_a_link_is_followed_and_written(opened):
    page = opened(TABLES, "#model=small&task=gendered_pronoun&step=100&pick=a1.h1&most=50")
    assert page.page.input_value("#model") == "small"
    assert page.page.input_value("#task") == "gendered_pronoun"
    assert page.text("#picked h2") == "Head 1.1"
    page.page.select_option("#model", "large")
    assert "model=large&task=gendered_pronoun&step=100" in page.page.evaluate("location.hash")
    page.page.evaluate("location.hash = '#model=small&task=ioi&step=1000'")
    page.page.wait_for_function(
        "document.getElementById('step-words').textContent.includes('1,000')"
    )
    assert page.page.input_value("#task") == "ioi"


def test_a_link_to_what_does_not_exist_shows_what_does(opened):
    nonsense = "#model=none&task=none&step=x&sign=x&role=x&least=x&most=x&ports=x"
    page = opened(TABLES, f"{nonsense}&compare=step&other=-1&pick=a9.h9")
    assert page.page.input_value("#model") == "large"
    assert page.text("#step-words").startswith("step 10,000")
    assert "gained by step 10,000" in page.text("#comparison")
    assert page.page.locator("#picked").count() == 0
    page.go(f"{nonsense}&pick=__proto__")
    assert drawn(page) == edges_at(10000)
    for key, value in {"sign": "both", "role": "", "least": "0", "most": "200"}.items():
        assert page.page.input_value(f"#{key}") == value


def test_a_pick_that_another_model_lacks_is_let_go(opened):
    page = opened(TABLES, f"{LAST}&pick=a3.h2")
    assert page.text("#picked h2") == "Head 3.2"
    page.page.select_option("#model", "small")
    assert page.page.locator("#picked").count() == 0


def test_comparison_starts_with_the_step_before(opened):
    page = opened(TABLES, LAST)
    page.page.select_option("#compare", "step")
    assert page.page.input_value("#other") == "1000"
    page.go("#model=large&task=ioi&step=0&compare=step")
    assert page.page.input_value("#other") == "100"


def test_filters_and_nodes_can_be_used_with_keys_alone(opened):
    page = opened(TABLES, LAST)
    page.page.evaluate("document.getElementById('filters').open = true")
    for port in page.page.locator("input[name=port]").all():
        port.press("Space")
        assert not port.is_checked()
    assert page.text("#step-words").startswith("step 10,000")
    assert drawn(page) == set()
    page.go(LAST)
    page.page.focus(".node.there")
    page.page.keyboard.press("Space")
    assert page.page.locator("#picked").count() == 1


def test_a_printed_page_shows_all_of_its_pictures(opened):
    page = opened(TABLES, LAST)
    page.page.emulate_media(media="print")
    # printing, a browser sends no event of a new size
    resized = "addEventListener('resize', event => event.stopImmediatePropagation(), true)"
    page.page.evaluate(resized)
    page.page.set_viewport_size({"width": 700, "height": 900})
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 700
    ends = "[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().right)"
    assert max(page.page.evaluate(ends)) <= 700


def test_keys_and_search_do_what_the_page_says(opened):
    page = opened(TABLES)
    page.page.keyboard.press("ArrowLeft")
    assert page.text("#step-words").startswith("step 1,000")
    page.page.keyboard.press("/")
    page.page.keyboard.type("3.1")
    page.page.keyboard.press("Enter")
    assert page.text("#picked h2") == "Head 3.1"
    assert "Copy suppression (CSPA)" in page.text("#picked")
    page.page.keyboard.press("Escape")
    assert page.page.locator("#picked").count() == 0
    page.page.fill("#find", "9.6")
    page.page.keyboard.press("Enter")
    assert page.text("#found").startswith("There is no 9.6: LARGE has 4 layers of 3 heads")
    page.page.focus("#slider")
    page.page.keyboard.press("Home")
    assert page.page.get_attribute("#slider", "aria-valuetext") == "step 0 (0 tokens)"


def test_edges_are_filtered_and_the_others_counted(opened):
    page = opened(TABLES, LAST)
    page.page.evaluate("document.getElementById('filters').open = true")
    page.page.uncheck("input[name=port][value=v]")
    kept = {edge for edge in edges_at(10000) if not edge.endswith("<v>")}
    assert drawn(page) == kept
    assert f"{len(edges_at(10000)) - len(kept)} edges do not pass" in page.text("#hidden")
    page.page.check("#fold")
    assert len(drawn(page)) <= len(kept)
    assert "L1 heads" in page.page.locator(".node.there .name").all_text_contents()


def test_an_edge_shows_its_score_over_training_with_gaps(opened):
    page = opened(TABLES, LAST)
    page.page.locator("#panel table button").first.click()
    assert page.text("#picked h2").startswith("Edge ")
    assert page.page.locator("#picked .missing").count() >= 1
    assert "there is no" not in page.text("#picked")


def test_labels_with_markup_show_as_written(opened):
    label, task = "<b>big</b>", "<img src=x onerror=alert(1)>"
    tables = {name: frame.replace("ioi", task) for name, frame in TABLES.items()}
    models = {"large": Described(label)}
    page = opened(tables, models=models, tasks=[task], title="<script>x</script>")
    assert page.text("#run") == "<script>x</script>"
    assert page.page.locator("#model option").text_content() == label
    assert page.page.locator("#task option").text_content() == task
    assert page.page.locator("img, b").count() == 0


def test_a_run_with_one_model_one_step_and_no_circuit_says_why(opened):
    tables = run({"one": Size(1, 1, 3)}, [0, 100], TASKS[:1])
    only = {name: frame[frame.get("step", 0) == 0] for name, frame in tables.items()}
    only["circuit_summary"] = only["circuit_summary"].assign(status="no_behaviour")
    only["circuit_edges"] = SCHEMAS["circuit_edges"].empty()
    page = opened(only, models={"one": Described("one")})
    assert "the model does not do the task" in page.text("#undefined")
    assert page.text("#forms") == "No step has a circuit."
    page.page.click("#play")
    assert page.page.locator("[data-export=edges]").is_disabled()


def test_a_model_of_which_only_the_behaviour_is_known_says_so(opened):
    bare = {n: t if n == "behaviour" else SCHEMAS[n].empty() for n, t in TABLES.items()}
    page = opened(bare)
    assert "circuits of this model are not analysed" in page.text("#undefined")
    assert page.page.locator(".chart").count() >= 2


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_the_page_fits_its_window(opened, width):
    page = opened(TABLES, f"{LAST}&compare=step&other=100", width=width)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    for pick in ("a1.h1", "m2"):
        page.go(f"{LAST}&pick={pick}")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_can_be_clicked_has_a_name(opened):
    page = opened(TABLES, LAST)
    nameless = """[...document.querySelectorAll('button, select, input, [role]')]
      .filter(one => !one.textContent.trim() && !one.getAttribute('aria-label'))
      .filter(one => !one.labels?.length && one.getAttribute('role') !== 'status')
      .map(one => one.outerHTML)"""
    assert page.page.evaluate(nameless) == []
    assert len(STEPS) == page.page.locator("#slider .tick").count()
