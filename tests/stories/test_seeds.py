"""Each scenario raises exactly the alarms that its file names, whatever the seed.

Two seeds here, without wires; `make stories ARGS=20` takes twenty.
"""

from __future__ import annotations

import os

import pytest

from tests.stories.behaviour import Behaviour, demo_site, names, scenario_of

SEEDS = range(1, int(os.environ.get("COURTYARD_SEEDS", "2")) + 1)
SITE = demo_site()

pytestmark = [pytest.mark.story, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("seed", SEEDS)
def test_a_scenario_raises_the_alarms_that_it_names_and_no_other(name: str, seed: int) -> None:
    scenario = scenario_of(SITE, name)
    told = Behaviour(SITE, name, seed)
    told.live(scenario.lasts_s)

    assert sorted(told.raised()) == sorted(scenario.alarms)


@pytest.mark.parametrize("name", names())
def test_every_alarm_that_a_scenario_names_is_one_of_the_demos(name: str) -> None:
    assert set(scenario_of(SITE, name).alarms) <= {rule.id for rule in SITE.rules}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_raised_in_a_quiet_hour(seed: int) -> None:
    told = Behaviour(SITE, "quiet", seed)
    told.live(3600)

    assert told.story == []
