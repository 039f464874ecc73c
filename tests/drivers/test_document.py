"""YAML with places: what the engineer sees when a file is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.document import Document, load, merge, nearest, parse
from drivers.profile import Strict


class Inner(Strict):
    baudrate: int
    parity: Literal["N", "E", "O"] = "N"


class Outer(Strict):
    name: str
    line: Inner
    lines: list[Inner] = []


def read(text: str) -> Document:
    return parse(text, Document("x.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("no", "no"), ("08:00", "08:00"), ("0777", 777), ("0x1F", 31), ("1e3", 1000.0), ("-7", -7),
        ("true", True), ("~", None), ("'12'", "12"), ("1_000", "1_000"), ("2026-03-02", "2026-03-02"), (".5", 0.5),
        ("", None),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert read(f"key: {text}").data == {"key": value}


def test_every_mistake_is_shown_at_once_where_it_stands() -> None:
    document = read("name: 7\nline:\n  baudrat: 9600\n  parity: X\nlines:\n- {baudrate: fast}\n")
    assert document.validate(Outer, document.data, ()) is None
    assert [str(fault) for fault in sorted(document.faults)] == [
        "x.yaml:1:1: name: is 7; input should be a valid string",
        "x.yaml:2:1: line.baudrate: is missing; add it",
        "x.yaml:3:3: line.baudrat: unknown key; did you mean baudrate?",
        "x.yaml:4:3: line.parity: is 'X'; write one of N, E, O",
        (
            "x.yaml:6:4: lines.0.baudrate: is 'fast'; input should be a valid integer, "
            "unable to parse string as an integer"
        ),
    ]


def test_a_key_that_stands_twice_is_a_mistake() -> None:
    document = read("a: 1\nb: 2\na: 3\n")
    assert [str(fault) for fault in document.faults] == ["x.yaml:3:1: a: stands twice (first in line 1); keep one"]


def test_broken_yaml_names_the_place() -> None:
    (fault,) = read("a: [1, 2\nb: 3\n").faults
    assert (fault.line, fault.message[:11]) == (2, "is not YAML")


def test_an_anchor_that_holds_itself_is_refused() -> None:
    assert [fault.message for fault in read("a: &x {b: *x}\n").faults] == ["refers to itself"]


def test_a_file_that_is_not_there_is_one_fault(tmp_path: Path) -> None:
    (fault,) = load(tmp_path / "none.yaml").faults
    assert fault.message == "cannot be read: No such file or directory; check the path and its permissions"


def test_a_file_in_another_encoding_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "gbk.yaml").write_bytes("name: 枫林".encode("gbk"))
    (fault,) = load(tmp_path / "gbk.yaml").faults
    assert "not UTF-8" in fault.message


def test_the_nearest_name_is_proposed_only_when_it_is_near() -> None:
    assert nearest("modbus-tpc", ["modbus-tcp", "mqtt"]) == "; did you mean modbus-tcp?"
    assert nearest("zzz", ["modbus-tcp", "mqtt"]) == ""


def test_merging_lays_one_mapping_over_another() -> None:
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}


@given(st.text())
def test_no_text_whatever_breaks_the_reader(text: str) -> None:
    document = read(text)
    assert document.faults or document.data is None or document.places
