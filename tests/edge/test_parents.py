"""What hangs on what: the wire always, and whatever else the site file says."""

from __future__ import annotations

from pathlib import Path

from edge.parents import ancestors
from edge.site_file import load_site

SITE = """\
site: {id: s, name: S, timezone: Asia/Shanghai}
connections:
  switch: {type: modbus-tcp, host: 10.0.0.1}
  pump-room: {type: modbus-tcp, host: 10.0.0.2, parent: [meter-1, "connection:switch"]}
equipment:
  meter-1: {profile: meter/eastron-sdm630, connection: switch, unit_id: 21}
  pump-1: {profile: pump/generic-vfd-booster, connection: pump-room, unit_id: 1, parent: meter-1}
  pump-2: {profile: pump/generic-vfd-booster, connection: pump-room, unit_id: 2}
"""


def test_everything_hangs_on_its_wire_and_on_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    above = load_site(tmp_path / "site.yaml").above
    assert above == {
        "connection:switch": (),
        "connection:pump-room": ("meter-1", "connection:switch"),
        "meter-1": ("connection:switch",),
        "pump-1": ("meter-1", "connection:pump-room"),
        "pump-2": ("connection:pump-room",),
    }
    assert ancestors(above)["pump-2"] == ("connection:pump-room", "meter-1", "connection:switch")
    assert ancestors(above)["pump-1"] == ("meter-1", "connection:pump-room", "connection:switch")
