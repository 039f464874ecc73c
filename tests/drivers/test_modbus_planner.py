"""The fewest requests within a device's limits, and what they cost on the wire."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import Request
from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, RtuTcpSettings, TcpSettings, UnitKeys
from drivers.modbus.planner import ReadRequest, plan
from drivers.modbus.runs import divides
from drivers.point import Device, Point, Text

TCP = TcpSettings(type="modbus-tcp", host="gateway")
Span = tuple[int, int]


def point(name: str, *, period_s: float = 1.0, kind: Any = "int", **keys: Any) -> Point:
    address = RegisterKeys.model_validate({"register": "holding", **keys})
    return Point(
        id=f"pump-1.{name}", equipment="pump-1", name=name, title=Text(name, name), kind=kind, unit="",
        period_s=period_s, deadband=0, low=None, high=None, counter=False, writable=False, labels=None,
        address=address,
    )  # fmt: skip


def device(points: list[Point], *, unit: int = 1, base: int = 0, **limits: Any) -> Device:
    return Device("pump-1", UnitKeys(unit_id=unit, base=base), Limits.model_validate(limits), tuple(points), 0.0)


def spans(of: Device) -> list[Span]:
    return [(request.address, request.count) for request in plan(TCP, [of])]


def partitions(items: list[Span]) -> Iterator[list[list[Span]]]:
    """Every way to share items out among requests."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for shared in partitions(rest):
        yield [[first], *shared]
        for index, group in enumerate(shared):
            yield [*shared[:index], [first, *group], *shared[index + 1 :]]


def allowed(group: list[Span], everything: list[Span], limits: Limits) -> bool:
    """Whether one request may read all of a group: the span, and each run of addresses without any point."""
    start, end = min(a for a, _ in group), max(a + w for a, w in group)
    if end - start > limits.max_registers:
        return False
    mapped = {address for a, w in everything for address in range(a, a + w)}
    gap: list[int] = []
    for address in range(start, end + 1):
        if address < end and address not in mapped:
            gap.append(address)
            continue
        if len(gap) > limits.max_gap or any(first <= at <= last for at in gap for first, last in limits.forbidden):
            return False
        gap = []
    return True


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([1, 2, 4])), min_size=1, max_size=6, unique=True),
    st.integers(4, 16),
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)).map(lambda pair: (pair[0], sum(pair))), max_size=2),
)
def test_no_other_plan_needs_fewer_requests(
    places: list[Span], most: int, gap: int, forbidden: list[tuple[int, int]]
) -> None:
    types = {1: "uint16", 2: "uint32", 4: "uint64"}
    points = [point(f"p{n}", address=a, type=types[w]) for n, (a, w) in enumerate(places)]
    of = device(points, max_registers=most, max_gap=gap, forbidden=forbidden)
    limits = Limits(max_registers=most, max_gap=gap, forbidden=tuple(forbidden))
    requests = plan(TCP, [of])
    best = min(
        len(groups) for groups in partitions(places) if all(allowed(group, places, limits) for group in groups)
    )
    assert len(requests) == best
    assert sorted(p.id for r in requests for p in r.block.points) == sorted(p.id for p in points)
    for request in requests:
        group = [(p.address.address, p.address.width) for p in request.block.points]  # type: ignore[attr-defined]  # RegisterKeys
        assert allowed(group, places, limits)
        assert (request.address, request.count) == (
            min(a for a, _ in group),
            max(a + w for a, w in group) - request.address,
        )


RTU = RtuSettings(type="modbus-rtu", port="/dev/ttyUSB0")


def share(requests: Sequence[Request]) -> float:
    return sum(request.wire_s / request.period_s for request in requests)


def shared(groups: list[list[Point]], **limits: Any) -> float | None:
    """The share of the wire that a plan of these groups takes, each read at its fastest point's period."""
    total = 0.0
    for group in groups:
        fastest = min(p.period_s for p in group)
        if not all(divides(fastest, p.period_s) for p in group):
            return None
        one = [point(p.name, period_s=fastest, **p.address.model_dump(by_alias=True)) for p in group]
        requests = plan(RTU, [device(one, **limits)])
        if len(requests) > 1:  # it does not fit one request, or two are cheaper
            return None
        total += share(requests)
    return total


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1, 2, 30]), st.sampled_from([1.0, 2.0, 3.0, 10.0])),
        min_size=1,
        max_size=5,
    )
)
def test_no_plan_of_neighbouring_points_uses_the_wire_less(rows: list[tuple[int, int, float]]) -> None:
    points, at = [], 0
    for number, (gap, width, period_s) in enumerate(rows):
        points.append(
            point(f"p{number}", period_s=period_s, address=at + gap, type="string", length=width, kind="text")
        )
        at += gap + width
    limits = {"max_registers": 60, "max_gap": 200}
    planned = plan(RTU, [device(points, **limits)], apart=False)
    cuts = itertools.product([False, True], repeat=len(points) - 1)
    shares = []
    for cut in cuts:
        groups = [[points[0]]]
        for each, parted in zip(points[1:], cut, strict=True):
            if parted:
                groups.append([])
            groups[-1].append(each)
        shares.append(shared(groups, **limits))
    apart = [[p for p in points if p.period_s == period_s] for period_s in {p.period_s for p in points}]
    separate = sum(share(plan(RTU, [device(group, **limits)])) for group in apart)
    best = min([separate, *(each for each in shares if each is not None)])
    assert share(planned) <= best * (1 + 1e-9)
    for request in planned:
        assert all(divides(request.period_s, p.period_s) for p in request.block.points), "never slower than its own"
    assert sorted(p.id for r in planned for p in r.block.points) == sorted(p.id for p in points)


def sizes(requests: Sequence[ReadRequest]) -> list[tuple[int, int]]:
    return [(request.address, request.count) for request in requests]


def test_blocks_of_one_unit_get_different_sizes_where_that_costs_next_to_nothing() -> None:
    fast = [point(f"f{n}", address=n) for n in range(20)]
    slow = [point(f"s{n}", address=20 + n, period_s=7.5) for n in range(20)]
    of = device([*fast, *slow])
    assert sizes(plan(RTU, [of], apart=False)) == [(0, 20), (20, 20)]
    assert sizes(plan(RTU, [of])) == [(0, 21), (20, 20)], "one register of the neighbour's is read along"
    assert share(plan(RTU, [of])) < 1.05 * share(plan(RTU, [of], apart=False))
    assert sizes(plan(TCP, [of])) == sizes(plan(TCP, [of], apart=False)), "TCP has numbers to tell by"
    made = plan(RTU, [of])[0]
    assert made.decode(struct.pack(">21H", *range(21))) == tuple(range(20)), "and is nothing to this block"


def test_a_block_is_never_made_wider_across_what_may_not_be_read_or_at_a_price() -> None:
    lonely = [point("a", address=0), point("b", address=100)]
    assert sizes(plan(RTU, [device(lonely)])) == [(0, 1), (100, 1)], "there is nothing beside them to read"
    full = [point(f"p{n}", address=n) for n in range(32)]
    assert sizes(plan(RTU, [device(full, max_registers=16)])) == [(0, 16), (16, 16)], "the device allows no more"
    floats = [
        point(f"f{n}", address=2 * n, type="float32", kind="float", period_s=1 + 6.5 * (n > 9)) for n in range(20)
    ]
    assert sizes(plan(RTU, [device(floats)])) == [(0, 20), (20, 20)], (
        "half a value is not read, and a whole one is dear"
    )
    wide = [
        point(f"f{n}", address=2 * n, type="float32", kind="float", period_s=1 + 6.5 * (n > 29)) for n in range(60)
    ]
    assert sizes(plan(RTU, [device(wide)])) == [(0, 62), (60, 60)]


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1, 2]), st.sampled_from([1.0, 2.5, 7.0])), max_size=14),
    st.integers(4, 20),
)
def test_telling_blocks_apart_costs_little_and_keeps_every_limit(
    rows: list[tuple[int, int, float]], most: int
) -> None:
    types = {1: "uint16", 2: "uint32"}
    points = [point(f"p{n}", address=a, type=types[w], period_s=t) for n, (a, w, t) in enumerate(rows)]
    of = device(points, max_registers=most, max_gap=3, forbidden=[[30, 33]])
    before, after = plan(RTU, [of], apart=False), plan(RTU, [of])
    assert [r.block.points for r in after] == [r.block.points for r in before]
    assert share(after) <= 1.05 * share(before)
    assert len({r.count for r in after}) >= len({r.count for r in before})
    mapped = {at for a, w, _ in rows for at in range(a, a + w)}
    for request in after:
        read = range(request.address, request.address + request.count)
        assert request.count <= most
        assert {request.address, read[-1]} <= mapped
        assert not {at for at in read if 30 <= at <= 33 and at not in mapped}


def test_a_slow_point_beside_a_fast_block_comes_with_it_only_where_that_saves_wire_time() -> None:
    fast = [point(f"f{n}", address=n) for n in range(10)]
    near = point("near", address=10, period_s=10)
    wide = point("text", address=10, period_s=10, type="string", length=40, kind="text")
    odd = point("odd", address=10, period_s=2.5)
    assert [(r.period_s, r.count) for r in plan(RTU, [device([*fast, near])])] == [(1, 11)]
    assert [(r.period_s, r.count) for r in plan(RTU, [device([*fast, wide])])] == [(1, 10), (10, 40)]
    assert [(r.period_s, r.count) for r in plan(RTU, [device([*fast, odd])])] == [(1, 10), (2.5, 1)]


def test_a_device_that_reads_one_value_at_a_time_is_asked_so() -> None:
    points = [
        point("a", address=0, type="uint32"),
        point("b", address=2, type="bool", bit=0, kind="bool"),
        point("c", address=2, type="bool", bit=5, kind="bool"),
        point("d", address=3, period_s=5),
    ]
    requests = plan(RTU, [device(points, single=True)])
    assert sizes(requests) == [(0, 2), (2, 1), (3, 1)]
    assert [len(request.block.points) for request in requests] == [1, 2, 1], "bits of one register are one value"


def test_a_gap_that_costs_more_than_a_request_is_not_bridged() -> None:
    points = [point("a", address=0), point("b", address=60)]
    assert len(plan(RTU, [device(points, max_gap=100)])) == 2
    assert len(plan(TCP, [device(points, max_gap=100)])) == 1


def test_many_periods_and_many_points_are_planned_at_once() -> None:
    points = [point(f"p{n}", address=n, period_s=float(1 + n % 7)) for n in range(400)]
    requests = plan(RTU, [device(points)])
    assert sorted(p.id for r in requests for p in r.block.points) == sorted(p.id for p in points)


def test_a_gap_is_bridged_up_to_the_limit_and_never_across_a_forbidden_range() -> None:
    points = [point("a", address=0), point("b", address=9), point("c", address=19)]
    assert spans(device(points)) == [(0, 10), (19, 1)]
    assert spans(device(points, max_gap=9)) == [(0, 20)]
    assert spans(device(points, max_gap=9, forbidden=[[4, 5]])) == [(0, 1), (9, 11)]
    assert spans(device(points, max_gap=0)) == [(0, 1), (9, 1), (19, 1)]


def test_tables_and_periods_are_read_apart_and_what_lies_within_a_faster_request_comes_with_it() -> None:
    of = device(
        [
            point("a", address=0),
            point("b", address=1, period_s=60),
            point("c", address=2, register="input"),
            point("d", address=3, register="coil", kind="bool"),
            point("e", address=4),
            point("never", address=5, period_s=0),
            point("far", address=50, period_s=60),
        ]
    )
    found = {(r.table, r.period_s, r.address, r.count) for r in plan(TCP, [of])}
    assert found == {("holding", 1.0, 0, 5), ("holding", 60, 50, 1), ("input", 1.0, 2, 1), ("coil", 1.0, 3, 1)}


def test_channels_of_one_module_keep_requests_of_their_own() -> None:
    points = [point("a", address=0), point("b", address=1)]
    requests = plan(TCP, [device(points, base=0), device(points, base=100, forbidden=[[0, 0]])])
    assert [(r.unit_id, r.address, r.count) for r in requests] == [(1, 0, 2), (1, 100, 2)]


def test_a_planned_request_decodes_what_it_reads() -> None:
    (request,) = plan(
        TCP,
        [device([point("b", address=12, type="uint32"), point("a", address=10, scale=0.1, kind="float")], base=100)],
    )
    assert [p.name for p in request.block.points] == ["a", "b"]
    assert request.decode(struct.pack(">4H", 231, 0, 1, 0)) == (23.1, 65536)


def test_what_cannot_be_read_at_all_names_the_point() -> None:
    wide = point("serial", address=0, type="string", length=20, kind="text")
    with pytest.raises(ValueError, match=r"pump-1.serial: takes 20 registers, but limits.max_registers is 16"):
        plan(TCP, [device([wide], max_registers=16)])
    with pytest.raises(ValueError, match="beyond 65535; check base of pump-1"):
        plan(TCP, [device([point("a", address=40000)], base=30000)])


@pytest.mark.parametrize(
    ("registers", "baudrate", "milliseconds"),
    [(1, 2400, 101), (10, 9600, 46), (30, 9600, 92), (125, 9600, 309), (60, 19200, 80), (125, 115200, 29)],
)
def test_the_predicted_time_is_that_of_the_line(registers: int, baudrate: int, milliseconds: int) -> None:
    rtu = RtuSettings(type="modbus-rtu", port="/dev/ttyUSB0", baudrate=baudrate, parity="E")
    wide = point("text", address=0, type="string", length=registers, kind="text")
    (request,) = plan(rtu, [device([wide], turnaround=0)])
    assert request.wire_s * 1000 == pytest.approx(milliseconds, abs=1.5)


def test_8n1_has_ten_bits_and_delays_and_pauses_are_added() -> None:
    n1 = RtuSettings(type="modbus-rtu", port="/dev/ttyUSB0")
    (bare,) = plan(n1, [device([point("a", address=0)], turnaround=0)])
    assert bare.wire_s == pytest.approx((8 + 7 + 7) * 10 / 9600)
    (slow,) = plan(n1, [device([point("a", address=0)], turnaround="50ms", pause="20ms")])
    assert slow.wire_s == pytest.approx(bare.wire_s + 0.07)
    assert slow.pause_s == 0.02
    (coils,) = plan(n1, [device([point("a", address=0, register="coil"), point("b", address=8, register="coil")])])
    assert coils.wire_s == pytest.approx((8 + 5 + 2 + 7) * 10 / 9600 + 0.01)


def test_a_serial_server_costs_its_line_and_a_network_almost_nothing() -> None:
    of = device([point("a", address=0)], turnaround=0)
    behind = RtuTcpSettings(type="modbus-rtu-tcp", host="server", port=4196)
    assert plan(behind, [of])[0].wire_s > 0.022
    assert plan(TCP, [of])[0].wire_s == pytest.approx(0.002)
