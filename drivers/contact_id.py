"""Contact ID (Ademco, SIA DC-05): the 16 digits by which an alarm panel tells an event.

What comes in: text that ends in `ACCT MT QXYZ GG CCC S` without spaces. What goes out: an `Event`, and back.
Account (4), message type (18, also 98), qualifier (1 new event or opening, 3 restore or closing, 6 still
present), event code (3), group or partition (2), zone or, for opening and closing, user (3), checksum. Digits are
0-9 and B-F. Pure: no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Qualifier = Literal[1, 3, 6]
NEW: Qualifier = 1
RESTORE: Qualifier = 3
STILL: Qualifier = 6

LENGTH = 16
_BODY = re.compile(r"([0-9B-F]{4})(18|98)([136])([0-9]{3})([0-9]{2})([0-9]{3})\Z")
_DIGITS = re.compile(r"[0-9B-F]{16}\Z")
_NEARLY = re.compile(r"[0-9A-F]{12,20}\Z")

USER_CODES = frozenset((*range(400, 416), *range(441, 445), *range(450, 465)))
"""Opening, closing and access: the last three digits are a user, not a zone."""


class BadContactId(ValueError):
    """The digits are no Contact ID. The text says why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one panel."""

    account: str
    """4 digits; from DC-09 3 to 16."""
    qualifier: Qualifier
    code: int
    """0 to 999."""
    group: int = 1
    """Partition, 0 to 99."""
    zone: int = 0
    """Zone or user, 0 to 999; 0 is the panel itself."""

    @property
    def has_user(self) -> bool:
        """Whether `zone` is the number of a user."""
        return self.code in USER_CODES


def checksum(digits: str) -> str:
    """The digit that makes the sum of all a multiple of 15, where 0 counts as 10. Raises `BadContactId` at an A."""
    total = 0
    for digit in digits:
        value = "0123456789_BCDEF".find(digit)  # A is not used as data: its place is taken by 0
        if value < 0 or digit == "_":
            raise BadContactId(f"{digit!r} is no digit of Contact ID (0-9, B-F)")
        total += value or 10
    rest = 15 - total % 15
    return "0" if rest == 10 else "0123456789_BCDEF"[rest]


def format(event: Event) -> str:  # noqa: A001  # the other half of parse
    """The 16 digits of an event. Raises `BadContactId` where it has no such form."""
    body = f"{event.account}18{event.qualifier}{event.code:03}{event.group:02}{event.zone:03}"
    if not _BODY.match(body):
        raise BadContactId(f"{event} does not fit: 4 digits (0-9, B-F), code and zone to 999, group to 99")
    return body + checksum(body)


def parse(text: str) -> Event:
    """The event at the end of a line. Raises `BadContactId`."""
    digits = last_word(text)
    if not _DIGITS.match(digits):
        raise BadContactId(f"{digits[:40]!r} is not the 16 digits of Contact ID (0-9, B-F)")
    expected = checksum(digits[:-1])
    if digits[-1] != expected:
        raise BadContactId(f"{digits} has checksum {digits[-1]}, should be {expected}")
    match = _BODY.match(digits[:-1])
    if match is None:
        raise BadContactId(f"{digits} has a right checksum, but no known message type, qualifier or code")
    account, _, qualifier, code, group, zone = match.groups()
    return Event(account, qualifier_of(qualifier), int(code), int(group), int(zone))


def qualifier_of(digit: str) -> Qualifier:
    """1, 3 or 6. Raises `BadContactId`."""
    known: dict[str, Qualifier] = {"1": NEW, "3": RESTORE, "6": STILL}
    if digit not in known:
        raise BadContactId(f"qualifier {digit!r} is none of 1, 3, 6")
    return known[digit]


def meant(text: str) -> bool:
    """Whether the end of a line was meant as Contact ID: a printer port also prints headings and blank forms."""
    word = last_word(text)
    return len(word) == LENGTH or bool(_NEARLY.match(word))


def last_word(text: str) -> str:
    """What stands behind the last space of a line; empty where there is nothing."""
    words = text.rsplit(maxsplit=1)
    return words[-1] if words else ""
