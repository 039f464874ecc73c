"""What one reading costs the alarm engine: with 1,000 and with 100,000 rules, of each kind, and of 3,000 a second.

The work is the same whatever the number of rules, so the ratio stays near 1; what is above it is the processor's
cache, which 100,000 rules do not fit. The share of a core is of a site of 100,000 rules, most on plain limits, one in
ten each on rises, counts and differences, fed 3,000 changed readings and two ticks a second.
Run: `python -m tests.bench.bench_alarms`. Figures are of one run on one machine; only ratios travel.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Sequence
from typing import Any

from drivers.document import Document
from drivers.point import Batch, Block, Point
from edge.alarms.engine import AlarmEngine
from edge.alarms.rule import compile_rules
from tests.alarms.scene import point

POINTS = 20
"""Points of one equipment, one rule on each, all in one block."""
ROUNDS = 20_000
"""Batches; every value in each is new, and every hundredth reading crosses its limit."""


READINGS_A_S = 3_000
SECONDS = 60
"""Of the site's life that are run for its share of a core."""
KINDS: dict[str, dict[str, Any]] = {
    "limit": {"above": 99.0, "deadband": 1.0},
    "rise": {"above": 99.5, "change": {"over": "10m"}},
    "count": {"above": 1e9, "count": {"over": "1h"}},
    "difference": {"above": 99.0, "difference": {"to": "p0"}},
}
MIXED = ("limit",) * 7 + ("rise", "count", "difference")


def site(rules: int, kinds: Sequence[str] = ("limit",)) -> tuple[AlarmEngine, list[Block]]:
    """An engine with so many rules, the kinds in turn, and the blocks of all its equipment."""
    made, blocks = [], []
    document = Document("bench.yaml")
    words = {"zh": "测试", "en": "test"}
    specs = {
        f"rule_{i}": {
            "code": "B-01", "name": words, "advice": words, "priority": "low",
            "point": f"p{i}", "on_delay": "10s", **KINDS[kinds[i % len(kinds)]],
        }
        for i in range(POINTS)
    }  # fmt: skip
    for number in range(rules // POINTS):
        name = f"e{number}"
        points: tuple[Point, ...] = tuple(point(f"p{i}", equipment=name, counter=True) for i in range(POINTS))
        made += compile_rules(name, "line", points, specs, document, ())
        blocks.append(Block(name, points))
    assert not document.faults, document.faults[0]
    return AlarmEngine(made), blocks


def microseconds_a_reading(rules: int, kind: str = "limit") -> tuple[float, float]:
    """Of readings that all changed, and of batches that are the same object as before."""
    engine, blocks = site(rules, (kind,))
    chosen = random.Random(1)
    batches = [
        Batch(chosen.choice(blocks), tuple(chosen.uniform(0, 100) for _ in range(POINTS)), round(i * 1e6), i * 0.001)
        for i in range(ROUNDS)
    ]
    for block in blocks:  # what each block means is worked out once
        engine.evaluate(Batch(block, (0.0,) * POINTS, 0, 0.0))
    gc.collect()
    gc.freeze()  # the collector's rounds over 100,000 rules are none of the engine's work
    start = time.perf_counter()
    for batch in batches:
        engine.evaluate(batch)
    changed = (time.perf_counter() - start) / ROUNDS / POINTS
    same = batches[-1]
    engine.evaluate(same)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        engine.evaluate(same)
    unchanged = (time.perf_counter() - start) / ROUNDS / POINTS
    gc.unfreeze()
    return changed * 1e6, unchanged * 1e6


def share_of_a_core(rules: int) -> float:
    """Of a mixed site whose every reading has changed, ticks included."""
    engine, blocks = site(rules, MIXED)
    chosen = random.Random(2)
    a_second = READINGS_A_S // POINTS
    life = [
        [(chosen.choice(blocks), tuple(chosen.uniform(0, 100) for _ in range(POINTS))) for _ in range(a_second)]
        for _ in range(SECONDS)
    ]
    for block in blocks:
        engine.evaluate(Batch(block, (0.0,) * POINTS, 0, 0.0))
    gc.collect()
    gc.freeze()
    start = time.process_time()
    for second, polls in enumerate(life, 1):
        for number, (block, values) in enumerate(polls):
            engine.evaluate(Batch(block, values, second * 10**9, second + number / len(polls)))
        engine.tick(second + 0.5, second * 10**9)
        engine.tick(second + 1.0, second * 10**9)
    share = (time.process_time() - start) / SECONDS
    gc.unfreeze()
    return share


def main() -> None:
    """Print both sizes and their ratio, each kind, and the share of a core."""
    few, few_same = microseconds_a_reading(1_000)
    many, many_same = microseconds_a_reading(100_000)
    print("alarms: µs a reading, one rule on each point, blocks of 20")
    print(f"    1,000 rules: {few:6.3f} changed   {few_same:6.4f} the same object")
    print(f"  100,000 rules: {many:6.3f} changed   {many_same:6.4f} the same object")
    print(f"  ratio:         {many / few:6.2f}           {many_same / few_same:6.2f}")
    for kind in KINDS:
        changed, _ = microseconds_a_reading(10_000, kind)
        print(f"   10,000 rules on a {kind + ':':12}{changed:6.3f} changed")
    share = share_of_a_core(100_000)
    print(f"  100,000 rules of all kinds, {READINGS_A_S:,} readings/s all changed: {share:.1%} of a core")


if __name__ == "__main__":
    main()
