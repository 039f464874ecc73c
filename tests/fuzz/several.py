"""Frames in any order, late, doubled, foreign, cut short and amid noise, against the gate that waits for several.

What comes in: a seed and a number of frames. What goes out: counts, or an AssertionError that names the round. What
is asserted: what gets through to a request is byte for byte its true answer, whatever else is out; where nothing
spoils the stream, every answer that came gets through; what is kept is bounded. A damaged transaction id, and a true
answer that loses its end while others follow, are left out: TCP has a checksum of its own and loses nothing midway.
"""

from __future__ import annotations

import itertools
import random

from drivers.modbus.frames import BrokenFrame
from drivers.modbus.several import SeveralGate
from tests.fuzz.gates import KEPT, Outcome, any_ask, kept
from tests.fuzz.identity import Ask, tcp

_OUT = 6


def fuzz_several(frames: int, seed: int) -> Outcome:
    """So many frames, several requests out at a time."""
    rng, outcome = random.Random(seed), Outcome()

    def count(kind: str) -> None:
        outcome.counted[kind] += 1

    gate, out, past, serial = SeveralGate(count), dict[int, Ask](), list[Ask](), 0
    while outcome.frames < frames:
        while len(out) < rng.randint(1, _OUT):
            serial = serial % 60_000 + 1
            ask = any_ask(rng, serial)
            gate.ask(tcp(serial, ask.unit, ask.request()))
            out[serial] = ask
        _round(gate, out, past, rng, outcome)
        del past[:-8]
    return outcome


def _round(gate: SeveralGate, out: dict[int, Ask], past: list[Ask], rng: random.Random, outcome: Outcome) -> None:
    parts: list[tuple[str, bytes, Ask | None]] = []
    for ask in rng.sample(list(out.values()), rng.randint(0, len(out))):
        parts.append(("TRUE", _frame(ask), ask))
        if rng.random() < 0.1:
            parts.append(("doubled", _frame(ask), None))
    for _ in range(rng.choice((0, 0, 1, 2))):
        kind = rng.choice(("late", "late", "foreign", "cut", "noise"))
        parts.insert(rng.randint(0, len(parts)), (kind, _spoilt(kind, out, past, rng), None))
    words = [word for word, data, _ in parts if data]
    stream = b"".join(data for _, data, _ in parts)
    places = sorted({0, len(stream), *(rng.randint(0, len(stream)) for _ in range(rng.choice((0, 1, 3))))})
    got: dict[int, bytes] = {}
    for start, end in itertools.pairwise(places):
        for transaction, found in gate.answers(stream[start:end]):
            assert transaction in out, f"{words}: nobody waits for {transaction}"
            assert transaction not in got
            if not isinstance(found, BrokenFrame):
                assert found == _frame(out[transaction]), f"{words}: {found.hex()} for {out[transaction]}"
                got[transaction] = found
        assert kept(gate) <= KEPT
    if not {"cut", "noise", "foreign"} & set(words):
        came = {ask.serial for word, _, ask in parts if word == "TRUE" and ask}
        assert got.keys() == came, f"{words}: {came - got.keys()} did not get through"
    else:  # as the link does, where they time out
        for transaction in list(out):
            gate.give_up(transaction)
            past.append(out.pop(transaction))
    past += [out.pop(transaction) for transaction in got if transaction in out]
    outcome.exchanges += len(got)
    outcome.accepted += len(got)
    outcome.frames += len(parts) + 1
    outcome.kinds.update(words)


def _frame(ask: Ask) -> bytes:
    return tcp(ask.serial, ask.unit, ask.answer())


def _spoilt(kind: str, out: dict[int, Ask], past: list[Ask], rng: random.Random) -> bytes:
    if kind == "late":
        ask = rng.choice(past) if past else None
        return b"" if ask is None or ask.serial in out else _frame(ask)
    if kind == "noise":
        return rng.randbytes(rng.randint(1, 40))
    ask = rng.choice(list(out.values()))
    if kind == "cut":  # of one that nobody waits for any more
        whole = tcp((ask.serial + 30_000) % 0x10000, ask.unit, ask.answer())
        return whole[: rng.randrange(1, len(whole))]
    return tcp(ask.serial, ask.unit % 6 + 1, ask.answer())
