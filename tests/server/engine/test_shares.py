"""Service counters: who is owed what."""

from weft.server.engine.shares import KEPT, Share


def test_what_a_part_takes_counts_for_the_whole() -> None:
    shares = Share()
    shares.charge(3.0, "x", "a")
    shares.charge(2.0, "x", None)
    shares.charge(1.0, "y", "a")
    assert (shares.part("x").taken_us, shares.part("y").taken_us) == (5.0, 1.0)
    assert shares.part("x").part("a").taken_us == 3.0
    assert shares.taken_us == 6.0


def test_back_from_idle_starts_at_the_least_of_those_that_wait() -> None:
    shares = Share()
    taken_us = {"x": 50.0, "y": 70.0, "idle": 5.0}
    for tenant in taken_us:
        shares.enter(tenant, "a")
    for tenant in taken_us:
        shares.charge(taken_us[tenant], tenant, "a")
    shares.leave("idle", "a")
    shares.enter("idle", "b")
    assert shares.part("idle").taken_us == 50.0
    shares.enter("new", "a")
    assert shares.part("new").taken_us == 50.0


def test_debt_outlives_idleness() -> None:
    shares = Share()
    shares.enter("x", "a")
    shares.enter("y", "a")
    shares.charge(9.0, "x", "a")
    shares.leave("x", "a")
    shares.enter("x", "a")
    assert (shares.part("x").taken_us, shares.part("y").taken_us) == (9.0, 0.0)


def test_who_waits_keeps_its_claim() -> None:
    shares = Share()
    shares.enter("x", "a")
    shares.enter("y", "a")
    shares.charge(9.0, "y", "a")
    shares.enter("x", "a")
    assert shares.part("x").taken_us == 0.0


def test_where_nobody_waits_the_last_that_did_is_the_level() -> None:
    shares = Share()
    shares.enter("x", "a")
    shares.enter("y", "a")
    shares.charge(7.0, "x", "a")
    shares.charge(4.0, "y", "a")
    shares.leave("x", "a")
    shares.leave("y", "a")
    shares.charge(1.0, "y", "a")
    shares.enter("z", "a")
    assert shares.part("z").taken_us == 5.0


def test_an_adapters_level_is_that_of_its_tenant() -> None:
    shares = Share()
    shares.enter("x", "a")
    shares.charge(9.0, "x", "a")
    shares.enter("y", "a")
    shares.enter("x", "b")
    assert shares.part("x").part("b").taken_us == 9.0
    assert shares.part("y").part("a").taken_us == 0.0


def test_the_idle_are_forgotten_unless_they_owe() -> None:
    shares = Share()
    shares.enter("busy", "a")
    shares.enter("owes", "a")
    shares.charge(9.0, "owes", "a")
    shares.leave("owes", "a")
    for i in range(KEPT + 10):
        shares.enter(str(i), "a")
        shares.leave(str(i), "a")
    assert len(shares._parts) < KEPT
    assert shares.part("owes").taken_us == 9.0
