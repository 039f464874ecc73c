"""Who is called next, and when."""

from __future__ import annotations

from edge.response.ladder import Climb, Step

STEPS = (Step(0, ("desk",)), Step(180, ("lead",)), Step(300, ("manager",)))


def test_steps_fall_due_one_after_the_other_and_once() -> None:
    climb = Climb(STEPS, began_s=100)
    assert climb.due(100) == [0]
    assert climb.due(279.9) == []
    assert climb.next_s() == 280
    assert climb.due(280) == [1]
    assert climb.due(280) == []
    assert climb.due(400) == [2]
    assert climb.next_s() is None


def test_steps_that_fell_due_while_the_box_was_off_are_all_taken() -> None:
    assert Climb(STEPS, began_s=0, taken=1).due(1000) == [1, 2]


def test_an_answer_ends_it() -> None:
    climb = Climb(STEPS, began_s=0)
    climb.due(0)
    climb.stopped = True
    assert climb.next_s() is None
    assert climb.due(1000) == []


def test_a_step_that_reached_nobody_brings_the_next_one_forward_but_no_further() -> None:
    climb = Climb(STEPS, began_s=0)
    climb.due(0)
    climb.failed(0)
    assert climb.due(5) == [1]
    assert climb.due(5) == []
    climb.failed(0)  # the news comes twice
    assert climb.next_s() == 300


def test_a_round_that_reached_nobody_begins_again_after_growing_pauses() -> None:
    climb = Climb(STEPS, began_s=0)
    pauses = []
    now_s = 300.0
    for _ in range(7):
        climb.due(now_s)
        assert climb.exhausted
        climb.again(now_s)
        at = climb.next_s()
        assert at is not None
        pauses.append(at - now_s)
        now_s = at + 300
    assert pauses == [60, 120, 240, 480, 900, 900, 900]
