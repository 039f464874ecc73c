"""A small version of `make bench ARGS=outage`: an uplink that was away for half an hour gets everything, in order."""

from __future__ import annotations

from pathlib import Path

from tests.bench.bench_outage import A_SECOND, VALUES, measure


async def test_what_an_outage_has_left_arrives_in_order_while_live_rows_go_before_it(tmp_path: Path) -> None:
    seconds = 1800
    far, said = await measure(tmp_path, seconds / 86_400)
    rows = seconds * A_SECOND // VALUES
    assert far.in_order, said
    assert far.next_live > rows  # all of it, and some that came meanwhile
    assert far.next_late > rows // 2
    assert len(far.delays_s) == far.next_live - rows
