"""The page of timelines is of today."""

from __future__ import annotations

import pytest

from tests.stories.timelines import PAGE, page

pytestmark = [pytest.mark.story, pytest.mark.timeout(120)]


def test_the_page_of_timelines_is_what_the_scenarios_are() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == "\n".join(page()) + "\n", "write it anew: python -m tests.stories.timelines"
