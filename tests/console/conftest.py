"""A console on a fake desk, asked without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from edge.console.api import build_app
from tests.console.fake_desk import FakeDesk


@pytest.fixture
def desk() -> FakeDesk:
    """A desk with believable answers."""
    return FakeDesk()


@pytest.fixture
async def http(desk: FakeDesk) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a console on loopback without a token."""
    transport = httpx.ASGITransport(build_app(desk))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client
