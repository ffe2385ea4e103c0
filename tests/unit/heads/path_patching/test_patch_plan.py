from circuitlapse.heads.path_patching.patch_plan import HeadPort, make_plan


def plan_of(model, receivers, senders):
    return make_plan(
        model,
        receivers=receivers,
        senders=senders,
        sender_positions="all",
        freeze_mlps=False,
        attention=False,
        metric="logit_diff",
    )


def test_senders_come_once_each_by_their_first_head_and_those_that_reach_come_first(random_model):
    pair, empty = frozenset({(2, 0), (0, 1)}), frozenset()
    senders = [(1, 0), empty, pair, (0, 0), frozenset({(0, 0)}), frozenset({(2, 1), (1, 1)})]
    plan = plan_of(random_model, [HeadPort(1, 0, "q"), HeadPort(0, 1, "v")], senders)
    reaching = (((0, 0),), ((0, 1), (2, 0)))
    assert plan.senders == (*reaching, ((1, 0),), ((1, 1), (2, 1)), ())
    assert plan.reaching == reaching
    assert plan_of(random_model, "logits", senders).reaching == plan.senders[:4]


def test_a_sender_needs_room_for_its_heads_of_one_layer(random_model):
    alone, apart = [(0, 0), (0, 1)], [frozenset({(0, 0), (1, 1), (2, 0)})]
    together = [(0, 0), frozenset({(0, 0), (1, 0), (1, 1)})]
    rooms = [plan_of(random_model, "logits", s).side_by_side for s in (alone, apart, together, [])]
    assert rooms == [1, 1, 2, 1]
