"""The power goes at any moment: both files open by themselves, and nothing that was told is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.powercut import cut_often


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_a_power_cut_both_files_open_by_themselves_with_all_that_was_told(
    tmp_path: Path, seed: int
) -> None:
    found = await cut_often(tmp_path, times=25, seed=seed, rounds=60)
    assert found.wrong == []
    assert found.forgotten == []
    assert found.opened == found.cuts == 25
    assert found.told > 300
    assert found.torn > 200, "the cuts have torn something"
