"""What the tests of acquisition share."""

from __future__ import annotations

import pytest

from tests.acquisition import line


@pytest.fixture(params=line.LINES)
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once on a line that has to be waited for, once on one whose requests can be sent at once."""
    monkeypatch.setattr(line, "kind", request.param)
    return str(request.param)
