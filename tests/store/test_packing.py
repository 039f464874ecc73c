"""Values keep their type and value; what cannot be kept is settled in one way."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Quality, Value
from edge.store.packing import GOOD, HIGHEST, LOWEST, clean, fold_qualities, unfold_qualities

VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.text(st.characters(categories=("Cs", "Lu")))
)
QUALITIES = st.sampled_from([quality.value for quality in Quality])


@given(st.lists(VALUES, min_size=1))
def test_whatever_comes_in_what_is_cleaned_can_be_packed_and_comes_back_with_its_type(values: list[Value]) -> None:
    kept, _ = clean(values, None)
    back = orjson.loads(orjson.dumps(kept))
    assert [(type(value), value) for value in back] == [(type(value), value) for value in kept]


@given(
    st.lists(st.one_of(st.booleans(), st.integers(LOWEST, HIGHEST), st.floats(allow_nan=False, allow_infinity=False)))
)
def test_numbers_that_fit_are_kept_exactly(values: list[Value]) -> None:
    assert clean(values, None) == (tuple(values), None)


def test_nan_and_infinity_become_nothing_with_the_reason_that_the_sensor_gave_none() -> None:
    assert clean([1.5, float("nan"), float("-inf")], None) == ((1.5, None, None), (GOOD, "bad/sensor", "bad/sensor"))


def test_a_reason_that_is_known_already_is_kept() -> None:
    assert clean([float("nan")], ["bad/comm"]) == ((None,), ("bad/comm",))


def test_an_integer_beyond_64_bits_becomes_the_nearest_float_and_beyond_floats_nothing() -> None:
    assert clean([2**64, -(2**70)], None) == ((float(2**64), -float(2**70)), None)
    assert clean([10**400], None) == ((None,), ("bad/range",))


def test_qualities_that_are_all_good_are_not_kept() -> None:
    assert clean([1, True], [GOOD, GOOD]) == ((1, True), None)


@given(st.lists(QUALITIES, min_size=1))
def test_qualities_come_back(qualities: list[str]) -> None:
    _, kept = clean([0] * len(qualities), qualities)
    back = unfold_qualities(fold_qualities(kept), len(qualities))
    assert (back or (GOOD,) * len(qualities)) == tuple(qualities)
