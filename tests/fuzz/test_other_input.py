"""Mutated frames of panels, lines of alarm hosts, MQTT messages, site files and profiles; more by `make fuzz`."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.files import fuzz_files, parse_anything
from tests.fuzz.parsers import fuzz_contact_id, fuzz_dc09, fuzz_payloads


def test_a_framer_of_panels_takes_only_what_was_sent_and_finds_its_way_back() -> None:
    counts = fuzz_dc09(3000, seed=2026)
    assert counts["taken"] > 1200


def test_lines_of_an_alarm_host_are_events_or_refused() -> None:
    counts = fuzz_contact_id(3000, seed=2026)
    assert counts["taken"] > 1200
    assert counts["refused"] > 500


def test_a_message_is_values_of_the_right_kind_or_refused() -> None:
    counts = fuzz_payloads(2000, seed=2026)
    assert 1000 < counts["refused"] < 7000


def test_a_mutated_file_is_right_or_has_faults_at_places_inside_it(tmp_path: Path) -> None:
    told = fuzz_files(120, seed=2026, folder=tmp_path)
    assert told["refused"] > 50


@settings(max_examples=300)
@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_read_or_has_faults_at_places_inside_it(text: str) -> None:
    parse_anything(text)
