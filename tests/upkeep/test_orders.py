"""The way of one work order, from open to verified."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Text
from edge.upkeep.orders import STEPS, Order, OrderRefused, OrderState, advance, opened, order_id, order_number


def fresh() -> Order:
    text = Text("加注润滑脂", "Grease the bearings")
    return opened(
        Order(
            id="WO-000001", equipment="pump-1", plan="grease", title=text, task=text, priority="medium",
            cause=Text("运行时间已达 2000 h", "Run hours 2000 h reached"), opened_ns=1, due_ns=None, due_value=2000.0,
        )
    ).order  # fmt: skip


def taken(*steps: str) -> Order:
    order = fresh()
    for number, step in enumerate(steps):
        order = advance(order, step, "王师傅", f"第{number}步", 10 + number, 2000.1).order
    return order


def test_an_order_goes_from_open_to_verified_and_says_who_did_what() -> None:
    order = taken("accept", "start", "done", "verify")

    assert [(line.event, line.time_ns, line.who, line.note) for line in order.history] == [
        ("opened", 1, "", ""),
        ("accepted", 10, "王师傅", "第0步"),
        ("started", 11, "王师傅", "第1步"),
        ("done", 12, "王师傅", "第2步"),
        ("verified", 13, "王师傅", "第3步"),
    ]
    assert (order.finished_ns, order.done_value) == (12, 2000.1)


def test_starting_an_open_order_accepts_it_too() -> None:
    order = taken("start")

    assert order.state is OrderState.STARTED
    assert [(line.event, line.note) for line in order.history] == [
        ("opened", ""), ("accepted", ""), ("started", "第0步"),
    ]  # fmt: skip


@pytest.mark.parametrize("steps", [(), ("accept",), ("start",), ("start", "done")])
def test_an_order_is_cancelled_at_any_time_before_it_is_verified(steps: tuple[str, ...]) -> None:
    order = taken(*steps, "cancel")

    assert order.state is OrderState.CANCELLED
    assert order.finished_ns is not None


def test_work_that_is_done_and_then_cancelled_was_finished_when_it_was_done() -> None:
    assert taken("start", "done", "cancel").finished_ns == 11


@pytest.mark.parametrize(
    ("steps", "step", "who", "note", "kind", "message"),
    [
        ((), "done", "王", "", "conflict", "WO-000001 is open; possible now: accept, start, cancel"),
        ((), "verify", "王", "", "conflict", "is open"),
        (("accept",), "accept", "王", "", "conflict", "is accepted; possible now: start, cancel"),
        (("start", "done"), "start", "王", "", "conflict", "is done; possible now: verify, cancel"),
        (("start", "done", "verify"), "cancel", "王", "x", "conflict", "is verified; nothing more is possible"),
        (("cancel",), "start", "王", "", "conflict", "is cancelled; nothing more is possible"),
        ((), "accept", " ", "", "refused", "a name is missing"),
        ((), "cancel", "王", " ", "refused", "not cancelled without a reason"),
        ((), "finish", "王", "", "refused", "'finish' is no step of an order; the steps are accept, start, done"),
    ],
)
def test_a_step_that_cannot_be_taken_says_why(
    steps: tuple[str, ...], step: str, who: str, note: str, kind: str, message: str
) -> None:
    with pytest.raises(OrderRefused, match=message) as refused:
        advance(taken(*steps), step, who, note, 99)
    assert refused.value.kind == kind


@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_whatever_is_asked_an_order_only_goes_forward(steps: list[str]) -> None:
    order = fresh()
    way = list(OrderState)
    for number, step in enumerate(steps):
        try:
            after = advance(order, step, "王", "因", number).order
        except OrderRefused:
            continue
        assert way.index(after.state) > way.index(order.state)
        assert after.history[: len(order.history)] == order.history
        assert after.history[-1].event == after.state.value
        assert (after.finished_ns is None) == after.pending
        order = after


def test_an_order_goes_through_json_and_back() -> None:
    order = taken("start", "done")

    assert Order.from_body(json.loads(json.dumps(order.to_body()))) == order
    json.dumps(advance(order, "verify", "李工", "", 5).to_body())


@pytest.mark.parametrize("change", [{"state": "lost"}, {"id": "7"}, {"history": [{}]}, {"title": None}, {"more": 1}])
def test_what_is_no_order_is_not_taken_for_one(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no stored order"):
        Order.from_body({**fresh().to_body(), **change})


def test_orders_are_numbered() -> None:
    assert order_id(1) == "WO-000001"
    assert order_number(order_id(1_234_567)) == 1_234_567
