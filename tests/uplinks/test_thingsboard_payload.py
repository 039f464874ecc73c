"""ThingsBoard's messages: nothing lost, nothing longer than the limit, quality told when it changes."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.store.ledger import Entry
from edge.store.readings import Row
from edge.uplinks.thingsboard_payload import (
    Moment,
    Request,
    Telemetry,
    answer,
    attributes,
    event,
    parse_request,
    telemetry,
)

MS = 1_772_447_465_123


def row(seq: int, *values: object, marks: tuple[str, ...] | None = None, equipment: str = "pump-1") -> Row:
    points = ("a", "b", "c")[: len(values)]
    return Row(seq, MS * 1_000_000 + 456_789, equipment, points, values, marks, None)  # type: ignore[arg-type]


def test_quality_is_told_when_it_is_not_good_and_once_when_it_is_good_again() -> None:
    told = Telemetry({"pump-1": "maple.pump-1"})

    def values(one: Row, *, late: bool = False) -> dict[str, object]:
        return next((moment.values for moment in told.moments([one], late=late)), {})

    assert values(row(1, 1.5)) == {"a": 1.5, "a_quality": "good"}
    assert values(row(2, 2.5)) == {"a": 2.5}
    assert values(row(3, None, marks=("bad/comm",))) == {"a_quality": "bad/comm"}
    assert values(row(4, 0.5), late=True) == {"a": 0.5}
    assert values(row(5, 3.5)) == {"a": 3.5, "a_quality": "good"}
    assert values(row(6, float("nan"))) == {}
    assert values(row(7, 1 << 64)) == {"a": str(1 << 64)}
    assert values(row(8, 1.0, equipment="gone-1")) == {}


VALUES = st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=40)
MOMENTS = st.lists(
    st.builds(
        Moment,
        st.sampled_from(["maple.pump-1", "maple.灯-1"]),
        st.integers(0, 2**41),
        st.dictionaries(
            st.text("abc_", min_size=1, max_size=9),
            st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=40),
            min_size=1,
        ),
    ),
    max_size=40,
)


@given(MOMENTS, st.integers(256, 2000))
def test_messages_keep_to_the_limit_and_all_arrives_in_order(moments: list[Moment], limit: int) -> None:
    found: dict[tuple[str, int], dict[str, object]] = {}
    expected: dict[tuple[str, int], dict[str, object]] = {}
    rejected: list[Moment] = []
    order: dict[str, list[int]] = {}
    for topic, payload in telemetry(moments, limit, rejected.append):
        assert topic == "v1/gateway/telemetry"
        assert len(payload) <= limit
        for device, entries in json.loads(payload).items():
            for entry in entries:
                found.setdefault((device, entry["ts"]), {}).update(entry["values"])
                order.setdefault(device, []).append(entry["ts"])
    for moment in moments:
        expected.setdefault((moment.device, moment.time_ms), {}).update(moment.values)
    assert rejected == []
    assert {key: value for key, value in expected.items() if value} == found
    for device, times in order.items():
        once = [ts for at, ts in enumerate(times) if at == 0 or times[at - 1] != ts]
        wanted = [moment.time_ms for moment in moments if moment.device == device]
        assert once == [ts for at, ts in enumerate(wanted) if at == 0 or wanted[at - 1] != ts]


def test_what_fits_into_no_message_is_said_and_the_rest_goes() -> None:
    rejected: list[Moment] = []
    moment = Moment("d", MS, {"long": "x" * 5000, "a": 1, "b": 2})
    [(_, payload)] = telemetry([moment], 1024, rejected.append)
    assert json.loads(payload) == {"d": [{"ts": MS, "values": {"a": 1, "b": 2}}]}
    assert [list(each.values) for each in rejected] == [["long"]]


def test_attributes_of_many_devices_are_shared_out_over_messages() -> None:
    told = {f"d{n}": {"name": f"泵{n}"} for n in range(100)}
    messages = list(attributes(told, 500))
    assert all(len(payload) <= 500 for _, payload in messages)
    assert {d: v for _, payload in messages for d, v in json.loads(payload).items()} == told


def test_what_happened_goes_as_telemetry_at_its_own_time() -> None:
    alarm = {"id": "pump-1.dry", "rule": "dry", "code": "WPMP-1", "priority": "high", "state": "unacknowledged"}
    entry = Entry("alarm", "pump-1.dry", MS * 1_000_000, {"event": "raised", "who": "", "alarm": alarm})
    assert event("d", entry) == Moment(
        "d",
        MS,
        {
            "alarm": "dry", "alarm_event": "raised", "alarm_state": "unacknowledged", "alarm_priority": "high",
            "alarm_code": "WPMP-1",
        },
    )  # fmt: skip
    order = Entry(
        "order", "WO-1", MS * 1_000_000, {"event": "done", "who": "Li", "order": {"id": "WO-1", "state": "done"}}
    )
    assert event("d", order).values == {"order": "WO-1", "order_event": "done", "order_state": "done", "who": "Li"}


def test_a_request_is_read_and_an_answer_is_none() -> None:
    asked = b'{"device": "A", "data": {"id": 7, "method": "write", "params": {"point": "on", "value": true}}}'
    request = parse_request(asked)
    assert request == Request("A", 7, "write", {"point": "on", "value": True})
    assert parse_request(answer(request, {"ok": True})[1]) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b'{"device": "A"}',
        b'{"device": 1, "data": {"id": 1, "method": "x"}}',
        b'{"device": "A", "data": {"id": null, "method": "x"}}',
        b'{"device": "A", "data": {"id": 1}}',
        bytes(20_000),
    ],
)
def test_what_is_no_request_says_so(payload: bytes) -> None:
    with pytest.raises(ValueError, match="request"):
        parse_request(payload)


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_a_value_error(payload: bytes) -> None:
    with suppress(ValueError):
        parse_request(payload)
