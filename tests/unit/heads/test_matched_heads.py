from circuitlapse.heads.matched_heads import matched_heads

EVERY = [(layer, head) for layer in range(4) for head in range(6)]


def test_a_control_has_as_many_other_heads_in_each_layer():
    heads = {(0, 1), (2, 0), (2, 5), (2, 3)}
    draws, status = matched_heads(heads, EVERY, n_draws=200, seed=1)
    assert status == "ok"
    for draw in draws:
        assert sorted(layer for layer, _ in draw) == [0, 2, 2, 2]
        assert not draw & heads
    assert {head for draw in draws for head in draw} == {
        head for head in EVERY if head[0] in (0, 2) and head not in heads
    }
    assert len(draws) == 5  # of the five others in layer 0; those in layer 2 are all taken
    again, _ = matched_heads(heads, EVERY, n_draws=200, seed=1)
    assert draws == again
    assert draws != matched_heads(heads, EVERY, n_draws=200, seed=2)[0]


def test_where_a_layer_has_too_few_other_heads_the_nearest_layers_lend_some():
    heads = {(1, head) for head in range(4)} | {(3, 0)}
    draws, status = matched_heads(heads, EVERY, n_draws=100, seed=0)
    assert status == "other_layers"
    for draw in draws:
        layers = [layer for layer, _ in sorted(draw)]
        assert layers.count(1) == 2
        assert layers.count(3) == 1
        assert layers.count(0) + layers.count(2) == 2
    assert {layer for draw in draws for layer, _ in draw} == {0, 1, 2, 3}


def test_more_than_half_of_the_heads_have_no_control():
    assert matched_heads(EVERY[:13], EVERY, n_draws=3, seed=0) == ([], "too_few_heads")
    draws, status = matched_heads(EVERY[:12], EVERY, n_draws=3, seed=0)
    assert (draws, status) == ([frozenset(EVERY[12:])], "other_layers")
