"""The examples of docs/uplinks.md are site files that check takes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from edge.data import CONFIG
from edge.site_file import load_site

GUIDE = Path(__file__).parent.parent.parent / "docs" / "uplinks.md"
EXAMPLES = [
    block
    for block in re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if block.startswith("uplinks:")
]


def certificate(folder: Path, name: str) -> None:
    """Some certificate that the box trusts already."""
    shutil.copy(next(Path("/etc/ssl/certs").glob("*.pem")), folder / name)


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: re.findall(r"type: (\w+)", block)[0])
def test_the_examples_of_the_guide_are_taken(block: str, tmp_path: Path) -> None:
    shutil.copy(CONFIG / "site.yaml", tmp_path)
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name in re.findall(r"\$\{file:([^}]+)\}", block):
        (tmp_path / "secrets" / name).write_text("a secret", encoding="utf-8")
        (tmp_path / "secrets" / name).chmod(0o600)
    for name in re.findall(r"ca: ([\w.-]+)", block):
        certificate(tmp_path, name)
    site = load_site(tmp_path / "site.yaml", yaml.safe_load(block))
    [(name, keys)] = yaml.safe_load(block)["uplinks"].items()
    assert site.uplinks[name].type == keys["type"]


def test_every_type_of_uplink_of_this_guide_has_an_example() -> None:
    found = {yaml.safe_load(block)["uplinks"].popitem()[1]["type"] for block in EXAMPLES}
    assert found >= {"influxdb", "mqtt", "sparkplug", "thingsboard", "webhook", "homeassistant"}
