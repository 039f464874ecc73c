"""Cursors are written with the rows that they have passed, never ahead of them."""

from __future__ import annotations

from edge.store.cursors import Cursors


def test_a_cursor_is_written_no_further_than_the_rows_and_only_when_it_has_moved() -> None:
    cursors = Cursors()
    cursors.opened({"cloud": 5}, first=True)
    assert (cursors.of("cloud"), cursors.of("new")) == (5, 0)
    cursors.advance("cloud", 20)
    cursors.advance("cloud", 10)
    assert cursors.of("cloud") == 20
    moved = cursors.moved(12)
    assert moved == {"cloud": 12}
    cursors.written(moved)
    assert cursors.moved(12) == {}
    assert cursors.moved(30) == {"cloud": 20}


def test_one_that_is_dropped_is_forgotten_by_the_file_too() -> None:
    cursors = Cursors()
    cursors.opened({"cloud": 5, "old": 3}, first=True)
    cursors.drop("old")
    assert cursors.moved(9) == {"old": None}
    cursors.written({"old": None})
    assert (cursors.moved(9), cursors.all()) == ({}, {"cloud": 5})


def test_a_new_file_in_the_place_of_a_damaged_one_learns_all_cursors_again() -> None:
    cursors = Cursors()
    cursors.opened({"cloud": 5}, first=True)
    cursors.opened({}, first=False)
    assert cursors.moved(9) == {"cloud": 5}
    cursors.floor = 8
    assert (cursors.of("cloud"), cursors.of("new")) == (8, 8)
