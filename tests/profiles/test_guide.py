"""The guide to writing profiles says what the code does: its examples load, and it names every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from drivers.document import keys_of
from drivers.guard import GuardSpec, InterlockSpec
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.keys import Limits, RegisterKeys
from drivers.panels import PanelPoint
from drivers.payload_keys import MessageKeys, PayloadPoint, WriteKeys
from drivers.profile import PointSpec, ProfileSpec
from edge.__main__ import main
from edge.alarms.rule import RuleSpec
from edge.upkeep.meters import MeterKeys
from edge.upkeep.plans import PlanKeys
from simulators.models import MODELS

GUIDE = Path(__file__).parents[2] / "docs" / "writing-a-profile.md"
TEXT = GUIDE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
MODELS_OF_KEYS: list[type[BaseModel]] = [
    ProfileSpec, PointSpec, GuardSpec, InterlockSpec, RegisterKeys, Limits, FingerprintKeys, MessageKeys,
    PayloadPoint, WriteKeys, PanelPoint, RuleSpec, MeterKeys, PlanKeys,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS_OF_KEYS, ids=lambda model: str(model.__name__))
def test_every_key_of_a_profile_is_in_the_guide(model: type[BaseModel]) -> None:
    missing = {key for key in keys_of(model) if not re.search(rf"`[^`\n]*\b{key}\b|^\s*{key}:", TEXT, re.MULTILINE)}
    assert not missing


def test_every_model_of_a_simulator_is_in_the_guide() -> None:
    assert not {name for name in MODELS if f"`{name}`" not in TEXT} - {"fixed"}


def test_the_guide_has_an_example_of_each_protocol() -> None:
    assert {re.findall(r"^protocol: (\S+)", example, re.MULTILINE)[0] for example in EXAMPLES} == {
        "modbus", "mqtt", "contact-id",
    }  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.split()[1]))
def test_every_example_of_the_guide_is_a_sound_profile(
    tmp_path: Path, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{example.split()[1]}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(example, encoding="utf-8")
    assert main(["profile", "check", str(path)]) == 0, capsys.readouterr().err
