"""What `config/gateway.yaml` says of the box's own alarms besides the keys that all alarm rules have."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from drivers.document import Document
from drivers.profile import Strict
from drivers.units import Seconds

BOX = "gateway"
"""The equipment of the alarms about the box itself: `gateway.storage`, `gateway.clock`. To the engine a part of it is
the connection `gateway:<part>`, down while the alarm's condition is true."""
UPLINK = "uplink:"
"""Before the name of an uplink it is the equipment of its alarms. To the engine each is the connection
`uplink:<name>:<rule>`, down while the alarm's condition is true."""


class UplinkLimits(Strict):
    """From when on something about an uplink is alarmed. Each stands with its rule."""

    lag: Seconds = Field(default=3600.0, gt=0)
    """`uplink_backlog`: how old the oldest reading or event may be that the far end has not confirmed."""
    calm: Seconds = Field(default=3600.0, gt=0)
    """`uplink_rejects`: so long after the last that was set aside it is over."""


_OF = {"lag": "uplink_backlog", "calm": "uplink_rejects"}


def take_uplink_limits(gateway: Document) -> UplinkLimits:
    """The limits, taken out of their rules; a mistake is noted."""
    taken: dict[str, float] = {}
    for key, name in _OF.items():
        rule: Any = gateway.get("alarms", name)
        given = {key: rule.pop(key)} if isinstance(rule, dict) and key in rule else {}
        found = gateway.validate(UplinkLimits, given, ("alarms", name))
        taken[key] = getattr(found or UplinkLimits(), key)
    return UplinkLimits(**taken)
