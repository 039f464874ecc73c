"""The duty section: every mistake is shown at its place, with the nearest right name."""

from __future__ import annotations

import pytest

from drivers.document import Document, parse
from edge.response.duty import DutySpec

GOOD = """
duty:
  channels:
    group: {type: wecom, key: abc-1}
    book:  {type: file, path: pushes.jsonl}
  recipients:
    desk: {name: 值班员, channels: [group, book], mobile: 13812345678}
    lead: {name: 领班, channels: [group]}
  ladders:
    critical: [{after: 0s, to: [desk]}, {after: 3m, to: [lead]}]
    orders:   [{after: 0s, to: [desk]}]
"""


def faults(text: str) -> list[str]:
    document = parse(text, Document("site.yaml"))
    spec = document.validate(DutySpec, document.data["duty"], ("duty",)) or DutySpec()
    spec.check(document, ("duty",))
    return [str(fault) for fault in document.faults]


def test_a_good_section_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            "channels: [group, book]",
            "channels: [grup, book]",
            "7:34: duty.recipients.desk.channels.0: no channel 'grup'",
        ),
        (
            "to: [lead]",
            "to: [laed]",
            "10:58: duty.ladders.critical.1.to.0: no recipient 'laed' in duty.recipients; did",
        ),
        ("to: [lead]", "to: [lead, lead]", "duty.ladders.critical.1.to.1: lead stands twice"),
        (
            "after: 0s, to: [desk]}, {",
            "after: 5m, to: [desk]}, {",
            "critical.1.after: comes before the step above it",
        ),
        ("type: wecom", "type: wecm", "4:5: duty.channels.group: no channel type 'wecm'; did you mean wecom?"),
        ("type: wecom, ", "", "duty.channels.group: has no type; write type: and one of wecom, dingtalk, feishu"),
        ("path: pushes", "pth: x, path: pushes", "duty.channels.book.pth: unknown key; did you mean path?"),
        ("critical:", "critcal:", "did you mean critical?"),
        ("after: 3m", "after: 3x", "duty.ladders.critical.1.after: '3x' is no duration"),
        (
            "key: abc-1",
            "key: 'https://a/b?key=1'",
            "duty.channels.group.key: is no key of a robot; write only its key",
        ),
        ("mobile: 13812345678", "mobile: a", "duty.recipients.desk.mobile: is no phone number"),
    ],
)
def test_each_mistake_is_placed_and_says_what_to_do(wrong: str, right: str, said: str) -> None:
    assert wrong in GOOD
    [fault] = faults(GOOD.replace(wrong, right, 1))
    assert said in fault


def test_a_key_is_not_printed_where_it_is_wrong() -> None:
    [fault] = faults(GOOD.replace("key: abc-1", "key: 'secret/1'"))
    assert "secret" not in fault


def test_a_site_without_the_section_pushes_nothing() -> None:
    assert DutySpec().ladders == {}


def test_keys_and_numbers_are_hidden_when_a_section_is_shown() -> None:
    document = parse(GOOD, Document("site.yaml"))
    shown = repr(document.validate(DutySpec, document.data["duty"], ("duty",)))
    assert "abc-1" not in shown
    assert "13812345678" not in shown
