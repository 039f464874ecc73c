"""What one reading costs the alarm engine, with 1,000 and with 100,000 rules.

The work is the same, so the ratio stays near 1; what is above it is the processor's cache, which 100,000 rules
do not fit.
Run: `python -m tests.bench.bench_alarms`. Figures are of one run on one machine; only the ratio travels.
"""

from __future__ import annotations

import gc
import random
import time

from drivers.document import Document
from drivers.point import Batch, Block, Point
from edge.alarms.engine import AlarmEngine
from edge.alarms.rule import compile_rules
from tests.alarms.scene import point

POINTS = 20
"""Points of one equipment, one rule on each, all in one block."""
ROUNDS = 20_000
"""Batches; every value in each is new, and every hundredth reading crosses its limit."""


def site(rules: int) -> tuple[AlarmEngine, list[Block]]:
    """An engine with so many rules, and the blocks of all its equipment."""
    made, blocks = [], []
    document = Document("bench.yaml")
    words = {"zh": "测试", "en": "test"}
    specs = {
        f"high_{i}": {
            "code": "B-01", "name": words, "advice": words, "priority": "low",
            "point": f"p{i}", "above": 99.0, "deadband": 1.0, "on_delay": "10s",
        }
        for i in range(POINTS)
    }  # fmt: skip
    for number in range(rules // POINTS):
        name = f"e{number}"
        points: tuple[Point, ...] = tuple(point(f"p{i}", equipment=name) for i in range(POINTS))
        made += compile_rules(name, "line", points, specs, document, ())
        blocks.append(Block(name, points))
    return AlarmEngine(made), blocks


def microseconds_a_reading(rules: int) -> tuple[float, float]:
    """Of readings that all changed, and of batches that are the same object as before."""
    engine, blocks = site(rules)
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


def main() -> None:
    """Print both sizes and their ratio."""
    few, few_same = microseconds_a_reading(1_000)
    many, many_same = microseconds_a_reading(100_000)
    print("alarms: µs a reading, one rule on each point, blocks of 20")
    print(f"    1,000 rules: {few:6.3f} changed   {few_same:6.4f} the same object")
    print(f"  100,000 rules: {many:6.3f} changed   {many_same:6.4f} the same object")
    print(f"  ratio:         {many / few:6.2f}           {many_same / few_same:6.2f}")


if __name__ == "__main__":
    main()
