from circuitlapse.evaluation.memory import bytes_per_prompt
from circuitlapse.evaluation.plan import make_plan
from circuitlapse.graph import Graph
from circuitlapse.memory import bytes_kept, bytes_per_run
from circuitlapse.selection import Circuit


def test_more_tokens_runs_and_edges_take_more_memory(random_model):
    assert bytes_per_run(random_model, n_pos=8) > 2 * bytes_per_run(random_model, n_pos=3)
    few, many = (bytes_kept(random_model, n_pos=8, n_runs=n) for n in (1, 30))
    assert many > few
    graph = Graph(3, 2)
    small, large = (
        bytes_per_prompt(random_model, make_plan(graph, [circuit], ablated_is_a_run=True), n_pos=8)
        for circuit in (Circuit.empty(graph), Circuit.full(graph))
    )
    assert large > 3 * small


def test_what_is_kept_of_a_prompt_covers_its_largest_parts(random_model):
    """The changes of 10 sources, and 30 normalised residual streams in each of three layers."""
    floats = 8 * 32 * (10 + 3 * 30)
    assert bytes_kept(random_model, n_pos=8, n_runs=30) > 4 * floats
