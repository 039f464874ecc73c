"""How often a robot may speak."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.response.bucket import Bucket


def test_the_reserved_share_is_for_what_is_critical() -> None:
    bucket = Bucket(15, reserve=5)
    for _ in range(10):
        assert bucket.wait_s(0, urgent=False) == 0
        bucket.spend(0)
    assert bucket.wait_s(0, urgent=False) == 60
    for _ in range(5):
        assert bucket.wait_s(0, urgent=True) == 0
        bucket.spend(0)
    assert bucket.wait_s(1, urgent=True) == 59
    assert bucket.wait_s(60, urgent=True) == 0


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=120))
def test_no_minute_ever_sees_more_than_the_rate(calls: list[tuple[float, bool]]) -> None:
    bucket, now_s = Bucket(15, reserve=5), 0.0
    spent: list[tuple[float, bool]] = []
    for pause_s, urgent in calls:
        now_s += pause_s
        now_s += bucket.wait_s(now_s, urgent)
        assert bucket.wait_s(now_s, urgent) == 0  # having waited, it may
        bucket.spend(now_s)
        spent.append((now_s, urgent))
    for at, urgent in spent:
        before = [each for each, _ in spent if at - 60 + 1e-3 < each <= at]
        assert len(before) <= 15
        if not urgent:
            # the token of a message that is not critical left the reserve untouched
            assert len([each for each in before if each < at]) < 15


def test_a_wait_of_the_rounding_of_a_clock_is_no_wait() -> None:
    bucket = Bucket(3, reserve=0)
    for _ in range(3):
        bucket.spend(0.1 + 0.2)
    assert bucket.wait_s(60.3, urgent=True) == 0
