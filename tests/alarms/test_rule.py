"""Rules as people write them: what is taken, and that each mistake is shown where it stands."""

from __future__ import annotations

import pytest

from drivers.document import Document, parse
from edge.alarms.rule import compile_connection_rules, compile_rules, compile_uplink_rules
from edge.alarms.truth import Above, AllOf, AnyOf, Linked, Not, OneOf, Silent
from tests.alarms.scene import compiled, pump


def faults(text: str) -> list[str]:
    _, document = compiled(text)
    return [f"{fault.line}:{fault.column} {fault.path}: {fault.message}" for fault in document.faults]


def test_a_rule_is_one_line_of_limits_and_delays() -> None:
    (rule,), document = compiled(
        "low: {point: pressure, below: 0.2, deadband: 0.02, on_delay: 30s, off_delay: 1m, respond: 15m}"
    )

    assert not document.faults
    assert (rule.id, rule.on_delay_s, rule.off_delay_s, rule.respond_s) == ("pump-1.low", 30, 60, 900)
    assert (rule.latching, rule.shelvable, rule.connection) == (False, True, "pump-room")


def test_conditions_nest() -> None:
    (rule,), document = compiled("""
dry:
  all:
    - {point: running, is: true}
    - any: [{point: pressure, below: 0.1}, {point: fault_text, in: [DRY, dry]}]
    - not: {point: mode, is: 2}
""")

    assert not document.faults
    assert isinstance(rule.condition, AllOf)
    running, either, manual = rule.condition.parts
    assert isinstance(running, OneOf)
    assert isinstance(either, AnyOf)
    assert isinstance(manual, Not)


def test_active_while_is_part_of_the_condition() -> None:
    (rule,), _ = compiled("hot: {point: temperature, above: 80, active_while: {point: running, is: true}}")

    assert isinstance(rule.condition, AllOf)
    assert isinstance(rule.condition.parts[0], Above)


def test_the_time_to_respond_follows_the_priority_where_it_is_not_given() -> None:
    rules, _ = compiled("""
a: {point: temperature, above: 80, priority: critical}
b: {point: temperature, above: 70, priority: low}
""")

    assert [rule.respond_s for rule in rules] == [300, 86_400]


def test_a_site_switches_a_rule_off() -> None:
    rules, document = compiled("hot: {point: temperature, above: 80, enabled: false}")

    assert rules == []
    assert not document.faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {point: presure, below: 1}", "1:5 a.point: no point 'presure' in the profile; did you mean pressure?"),
        ("a: {pont: pressure, below: 0.2, point: pressure}", "1:5 a.pont: unknown key; did you mean point?"),
        (
            "a: {any: [{point: pressure, belw: 1}]}",
            "1:29 a.any.0.belw: unknown key; did you mean below?",
        ),
        (
            "a: {point: running, above: 1}",
            "1:21 a.above: above compares numbers, but running is of kind bool; use is, is_not or in",
        ),
        (
            "a: {point: pressure, above: 0.5, deadband: -1}",
            "1:34 a.deadband: is -1; input should be greater than or equal to 0",
        ),
        (
            "a: {point: pressure, above: 0.5, deadband: 2}",
            "1:34 a.deadband: is 2, as wide as pressure in its range 0..1; make it smaller",
        ),
        (
            "a: {point: pressure, above: 0.5, deadband: 0.6}",
            "1:34 a.deadband: is 0.6: above 0.5 could never clear in its range 0..1; make it smaller",
        ),
        (
            "a: {point: pressure, above: 1.5}",
            "1:22 a.above: is 1.5, which pressure never passes in its range 0..1; the rule would never be raised",
        ),
        (
            "a: {point: pressure, below: 1.5}",
            "1:22 a.below: is 1.5: pressure is always below that in its range 0..1; the rule could never clear",
        ),
        (
            "a: {all: [{point: pressure, above: 0.8}, {point: pressure, below: 0.2}]}",
            "1:5 a.all: pressure above 0.8 and below 0.2 can never both be true; the limits are in the wrong order",
        ),
        (
            "a: {any: [{point: pressure, above: 0.2}, {point: pressure, below: 0.8}]}",
            (
                "1:5 a.any: pressure above 0.2 and below 0.8: one of them is always true; "
                "the limits are in the wrong order"
            ),
        ),
        ("a: {point: running, is: 1}", "1:21 a.is: is 1, but running is of kind bool; write true or false"),
        ("a: {point: mode, is: auto}", "1:18 a.is: is 'auto', but mode is of kind int; write a whole number"),
        (
            "a: {point: mode, in: [1, 7]}",
            "1:18 a.in: is 7, which mode does not know; it knows 0 off, 1 auto, 2 manual",
        ),
        ("a: {point: pressure, is: 2.5}", "1:22 a.is: is 2.5, outside of what pressure can be"),
        (
            "a: {point: pressure}",
            "1:1 a: a point is compared by one of above, below, is, is_not, in; found none (several: all: or any:)",
        ),
        (
            "a: {point: pressure, above: 0.8, below: 0.2}",
            (
                "1:1 a: a point is compared by one of above, below, is, is_not, in; "
                "found above and below (several: all: or any:)"
            ),
        ),
        (
            "a: {silent: true, point: pressure, above: 0.2}",
            (
                "1:1 a: a condition has one of point, all, any, not, silent, unusable, connection, alarm, time; "
                "found point and silent"
            ),
        ),
        ("a: {silent: true, deadband: 2}", "1:1 a: deadband belongs to above or below; remove it"),
        ("a: {connection: away}", "1:1 a: connection is 'away'; write up or down"),
        ("a: {point: pressure, above: warm}", "1:22 a.above: is 'warm'; input should be a valid number"),
        (
            "a: {point: temperature, above: 80, priority: urgent}",
            "1:36 a.priority: is 'urgent'; input should be 'critical', 'high', 'medium' or 'low'",
        ),
        (
            "a: {point: temperature, above: 80, on_delay: soon}",
            "1:36 a.on_delay: 'soon' is no duration; write it like 500ms, 10s, 5m, 2h, 1d",
        ),
        (
            "a: {point: temperature, above: 80, active_while: {point: runing, is: true}}",
            "1:51 a.active_while.point: no point 'runing' in the profile; did you mean running?",
        ),
        ("Too-Hot: {point: temperature, above: 80}", "1:1 Too-Hot: is no rule name; use a-z, 0-9 and _"),
    ],
)
def test_a_mistake_is_shown_where_it_stands(text: str, expected: str) -> None:
    assert faults(text) == [expected]


def test_all_mistakes_are_shown_at_once() -> None:
    found = faults("""
a: {point: presure, below: 1}
b: {point: temperature, above: 500}
c: {any: [{point: running, is: 3}, {point: mod, is: 1}]}
""")

    assert [line.split(":")[0] for line in found] == ["2", "3", "4", "4"]


def test_a_rule_that_is_no_mapping_is_a_mistake() -> None:
    document = parse("hot: 80", Document("pump.yaml"))

    assert compile_rules("pump-1", "pump-room", pump(), document.data, document, ()) == []
    assert "write a mapping" in document.faults[0].message


def test_equipment_without_points_cannot_fall_silent() -> None:
    _, document = compiled("gone: {silent: true}", points=())

    assert document.faults[0].message == "this equipment has no points that could fall silent"


GATEWAY = """
line_offline: {code: GW-01, name: {zh: 离线, en: Offline}, advice: {zh: 查, en: Look}, priority: high, on_delay: 10s}
uplink_backlog: {code: GW-04, name: {zh: 积压, en: Backlog}, advice: {zh: 查, en: Look}, priority: medium}
uplink_rejects: {code: GW-08, name: {zh: 拒收, en: Rejects}, advice: {zh: 查, en: Look}, priority: low}
"""


def test_the_gateway_has_rules_for_each_connection_and_uplink() -> None:
    document = parse(GATEWAY, Document("gateway.yaml"))
    lines = compile_connection_rules(["pump-room", "lora"], document.data, document, ())
    uplinks = compile_uplink_rules(["cloud"], document.data, document, ())

    assert not document.faults
    assert [rule.id for rule in lines] == ["connection:pump-room.line_offline", "connection:lora.line_offline"]
    assert [rule.condition for rule in lines] == [Linked("pump-room", up=False), Linked("lora", up=False)]
    assert [rule.condition for rule in uplinks] == [
        Linked("uplink:cloud:uplink_backlog", up=False), Linked("uplink:cloud:uplink_rejects", up=False)
    ]  # fmt: skip


def test_a_gateway_rule_that_nobody_knows_is_a_mistake() -> None:
    document = parse(GATEWAY.replace("line_offline", "line_ofline"), Document("gateway.yaml"))

    assert compile_connection_rules(["lora"], document.data, document, ()) == []
    assert "did you mean line_offline?" in document.faults[0].message


def test_silence_is_a_condition_among_others() -> None:
    (rule,), _ = compiled("gone: {any: [{silent: true}, {point: fault_text, is: LOST}]}")

    assert rule.silent
    assert isinstance(rule.condition, AnyOf)
    assert rule.condition.parts[0] == Silent("pump-1")
