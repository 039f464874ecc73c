"""Tens of thousands of mutated, truncated, merged, doubled, echoed, late and foreign frames; more by `make fuzz`."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.frames import BrokenFrame, Gate, RtuGate, TcpGate
from tests.fuzz.gates import KEPT, fuzz_gate, kept
from tests.fuzz.identity import Ask, rtu, tcp
from tests.fuzz.several import fuzz_several
from tests.fuzz.wires import fuzz_pty, fuzz_sockets, fuzz_virtual

FRAMINGS = pytest.mark.parametrize("over_tcp", [True, False], ids=["tcp", "rtu"])


@FRAMINGS
def test_only_the_true_answer_gets_through_the_gate_and_it_does(over_tcp: bool) -> None:
    outcome = fuzz_gate(30_000, seed=2026, over_tcp=over_tcp)
    assert outcome.accepted > 1000
    assert all(outcome.kinds[kind] > 300 for kind in ("late", "foreign", "truncated", "burst", "noise", "doubled"))


def test_each_request_gets_its_own_answer_only_where_several_are_out() -> None:
    outcome = fuzz_several(30_000, seed=2026)
    assert outcome.accepted > 10_000
    assert all(outcome.kinds[kind] > 300 for kind in ("late", "foreign", "cut", "noise", "doubled"))


@FRAMINGS
def test_a_link_on_a_lying_line_takes_no_value_of_another_request(over_tcp: bool) -> None:
    lies = fuzz_virtual(12_000, seed=2026, over_tcp=over_tcp)
    assert lies.accepted > 1000
    assert min(lies.kinds.values()) > 50


@FRAMINGS
async def test_nor_does_one_on_real_sockets(over_tcp: bool) -> None:
    lies = await fuzz_sockets(90, seed=2026, over_tcp=over_tcp)
    assert lies.accepted > 10


async def test_nor_does_one_on_a_real_terminal() -> None:
    lies = await fuzz_pty(90, seed=2026)
    assert lies.accepted > 10


@FRAMINGS
def test_a_lying_line_leaves_nothing_in_memory(over_tcp: bool) -> None:
    fuzz_virtual(500, seed=1, over_tcp=over_tcp)
    gc.collect()
    tracemalloc.start()
    try:
        fuzz_virtual(500, seed=2, over_tcp=over_tcp)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        fuzz_virtual(4_000, seed=3, over_tcp=over_tcp)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=12), st.sampled_from((1, 2, 3, 4, 5, 6, 16)), st.booleans())
def test_whatever_bytes_come_a_gate_raises_nothing_else_and_keeps_little(
    pieces: list[bytes], function: int, over_tcp: bool
) -> None:
    ask = Ask(7, 1, function, 0x0403, 1 if function in (5, 6) else 2)
    gate: Gate = TcpGate(lambda kind: None) if over_tcp else RtuGate(lambda kind: None)
    gate.ask(tcp(7, 1, ask.request()) if over_tcp else rtu(1, ask.request()))
    for piece in pieces:
        with suppress(BrokenFrame):
            gate.take(piece)
        assert kept(gate) <= KEPT


def _answers(ask: Ask, *pieces: bytes) -> list[bytes]:
    gate = RtuGate(lambda kind: None)
    gate.ask(rtu(ask.unit, ask.request()))
    return [frame for piece in pieces if (frame := gate.take(piece))]


@pytest.mark.parametrize(
    ("function", "address", "count"),
    [(3, 0x0204, 1), (3, 0x0400, 2), (16, 0x0010, 3), (1, 0x0305, 20), (4, 0x0000, 2)],
)
def test_the_echo_of_a_request_is_told_from_its_answer(function: int, address: int, count: int) -> None:
    ask = Ask(5, 1, function, address, count)
    echo, true = rtu(1, ask.request()), rtu(1, ask.answer())
    assert _answers(ask, echo + true) == [true]
    assert _answers(ask, *(bytes([byte]) for byte in echo + true)) == [true]
    assert _answers(ask, echo, b"\0") == [], "the byte after an echo completes no answer"


def test_a_tcp_answer_cut_short_is_not_completed_from_the_next_frame() -> None:
    old, ask = Ask(4, 1, 3, 0, 2), Ask(5, 1, 3, 0, 10)
    true, late = tcp(5, 1, ask.answer()), tcp(4, 1, old.answer())
    gate = TcpGate(lambda kind: None)
    gate.ask(tcp(5, 1, ask.request()))
    assert gate.take(true[:-5]) == b""
    assert gate.take(late) == b""
    gate.ask(tcp(5, 1, ask.request()))
    with pytest.raises(BrokenFrame, match="cut short"):
        gate.take(true[:-5] + late)
