"""`kill -9` at random moments under load: what was stored stays, once; what was told is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.box_time import BoxTime
from tests.faults.killing import COMMIT_S, kill_often


@pytest.mark.service
@pytest.mark.timeout(180)
async def test_kill_9_loses_and_doubles_nothing_that_was_stored_and_nothing_untold_was_told(
    tmp_path: Path, mosquitto: tuple[str, int]
) -> None:
    found = await kill_often(tmp_path, mosquitto[1], times=4, seed=5)
    assert found.kills == 4
    assert len(found.stored) > 300
    assert found.lost == []
    assert found.doubled == []
    assert found.missing == 0, "what is stored arrives at the far end"
    assert found.told > 20
    assert found.acknowledged > 0
    assert found.unwritten == []
    # Generous beside the interval itself: tests share the machine, and a commit may take its time there.
    assert max(found.gaps_s) < COMMIT_S + 2
    assert max(found.start_cpu_s) < 2


@pytest.mark.service
@pytest.mark.timeout(180)
async def test_kill_9_before_the_time_is_known_costs_no_order_and_no_true_stamp(
    tmp_path: Path, mosquitto: tuple[str, int]
) -> None:
    def plan(number: int, box: BoxTime) -> None:
        if number == 2:
            box.learn_in(2)  # the third is up by then, or takes up what the others have left

    found = await kill_often(tmp_path, mosquitto[1], times=3, seed=3, devices=5, plan=plan)
    assert found.kills_unknown >= 2
    assert (found.lost, found.doubled, found.missing, found.unwritten) == ([], [], 0, [])
    assert found.stamps is not None
    assert found.stamps.true > 100
    assert found.stamps.wrong == []
