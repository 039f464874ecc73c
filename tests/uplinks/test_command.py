"""Commands over MQTT: object or bare value; what is wrong is said."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.uplinks.command import REASON, Command, parse_command


@pytest.mark.parametrize(
    ("payload", "command"),
    [
        (b"true", Command(True)),
        (b"12.5", Command(12.5)),
        (b"7", Command(7)),
        (b'"auto"', Command("auto")),
        (b"ON\n", Command("ON")),
        ("开".encode(), Command("开")),
        (b'{"value": false}', Command(False)),
        (b'{"value": 3, "who": "Li", "reason": "dusk", "id": 9}', Command(3, "Li", "dusk", 9)),
        (rb'{"value": 3, "who": "Li\n\u001b[2J", "reason": "so\r\nto say "}', Command(3, "Li [2J", "so to say")),
        (b'{"value": 3, "for_s": 1800}', Command(3, for_s=1800)),
        (b'{"value": 3, "id": ["x"], "more": 1}', Command(3, "mqtt", REASON, None)),
    ],
)
def test_a_command_is_a_bare_value_or_an_object(payload: bytes, command: Command) -> None:
    assert parse_command(payload) == command


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b" ", "empty; write"),
        (b"{}", 'no "value"; write'),
        (b'{"value": true', "is not JSON; check quotes"),
        (b'{"value": null}', "the value is null; write true, false"),
        (b"[1]", "the value is a list"),
        (b'{"value": 1, "who": 5}', '"who" is int; write a text'),
        (('{"value": 1, "who": "%s"}' % ("x" * 81)).encode(), '"who" has 81 characters; write at most 80'),
        (('{"value": 1, "reason": "%s"}' % ("x" * 501)).encode(), '"reason" has 501 characters; write at most 500'),
        (b'{"value": 1, "for_s": "30m"}', "\"for_s\" is '30m'; write a number of seconds"),
        (b'{"value": 1, "for_s": true}', '"for_s" is True; write a number of seconds'),
        (b"\xff\xfe", "is neither JSON nor UTF-8 text"),
        (b"1" * 5000, "5000 bytes; a command has at most 4096"),
    ],
)
def test_what_is_no_command_is_refused_with_what_to_write(payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_command(payload)


@given(st.binary())
def test_no_payload_raises_anything_else(payload: bytes) -> None:
    with suppress(ValueError):
        parse_command(payload)
