"""Contact ID: the published vector, round trips, and what a checksum can see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contact_id import BadContactId, Event, Qualifier, checksum, format, meant, parse  # noqa: A004  # its pair

DIGITS = "0123456789BCDEF"
QUALIFIERS: list[Qualifier] = [1, 3, 6]
EVENTS = st.builds(
    Event,
    account=st.text(DIGITS, min_size=4, max_size=4),
    qualifier=st.sampled_from(QUALIFIERS),
    code=st.integers(0, 999),
    group=st.integers(0, 99),
    zone=st.integers(0, 999),
)


def test_the_checksum_of_the_published_vector_is_8() -> None:
    assert checksum("123418113101015") == "8"
    assert parse("1234181131010158") == Event("1234", 1, 131, 1, 15)


def test_a_sum_that_is_a_multiple_of_15_already_has_checksum_f() -> None:
    assert checksum("555") == "F"


def test_the_digits_stand_at_the_end_of_a_printed_line() -> None:
    assert parse("2026-03-02 18:31:05 周界\t1234181131010158 \r\n") == Event("1234", 1, 131, 1, 15)


@given(EVENTS)
def test_every_event_comes_back_from_its_digits(event: Event) -> None:
    assert parse(format(event)) == event


@given(EVENTS, st.integers(0, 15), st.sampled_from(DIGITS))
def test_every_single_wrong_digit_is_detected(event: Event, place: int, digit: str) -> None:
    digits = format(event)
    damaged = digits[:place] + digit + digits[place + 1 :]
    if damaged != digits:
        with pytest.raises(BadContactId):
            parse(damaged)


@given(st.text(max_size=40))
def test_no_text_raises_anything_but_bad_contact_id(text: str) -> None:
    try:
        event = parse(text)
    except BadContactId:
        return
    assert format(event)[:4] == event.account


@pytest.mark.parametrize(
    ("digits", "complaint"),
    [
        ("", "not the 16 digits"),
        ("123418113101015", "not the 16 digits"),
        ("12341811310101588", "not the 16 digits"),
        ("12A41811310101" + "58", "not the 16 digits"),
        ("1234181131010157", "has checksum 7, should be 8"),
        ("123417113101015" + checksum("123417113101015"), "no known message type"),
        ("12341821310101" + "5" + checksum("123418213101015"), "no known message type"),
    ],
)
def test_digits_that_are_no_event_say_why(digits: str, complaint: str) -> None:
    with pytest.raises(BadContactId, match=complaint):
        parse(digits)


def test_an_event_that_has_no_digits_is_refused() -> None:
    for event in (Event("12A4", 1, 130), Event("1234", 1, 1000), Event("1234", 1, 130, zone=1000)):
        with pytest.raises(BadContactId, match="does not fit"):
            format(event)


def test_text_for_people_is_told_from_damaged_digits() -> None:
    assert meant("1234181131010158")
    assert meant("18:31:05 12341811310101")
    assert meant("18:31:05 1234181131x10158")
    assert not meant("系统自检 正常")
    assert not meant("2026-03-02 18:31:05")
    assert not meant("")


def test_opening_and_closing_name_a_user_and_no_zone() -> None:
    assert Event("1234", 1, 401, zone=5).has_user
    assert not Event("1234", 1, 131, zone=5).has_user
