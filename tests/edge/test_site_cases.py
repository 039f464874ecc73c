"""Every folder of tests/cases with an `error.txt` is a mistake that somebody made, and what they were told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drivers.document import Faulty
from edge.site_file import load_site

CASES = Path(__file__).parent.parent / "cases"


def told(case: Path) -> str:
    """The faults of a case, with paths as seen from its folder."""
    with pytest.raises(Faulty) as caught:
        load_site(case / "site.yaml")
    return "\n".join(str(fault).replace(f"{case}{os.sep}", "") for fault in caught.value.faults) + "\n"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in CASES.glob("*/error.txt")))
def test_the_engineer_is_told(name: str) -> None:
    assert told(CASES / name) == (CASES / name / "error.txt").read_text(encoding="utf-8")
