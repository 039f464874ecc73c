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
"""Before the name of an uplink it is the equipment of its alarm, and to the engine a connection."""


class _Lag(Strict):
    lag: Seconds = Field(default=3600.0, gt=0)
    """How old the oldest reading or event may be that the far end has not confirmed."""


def take_lag(gateway: Document) -> float:
    """The lag in s from which an uplink counts as behind, taken out of its rule; a mistake is noted."""
    rule: Any = gateway.get("alarms", "uplink_backlog")
    given = {"lag": rule.pop("lag")} if isinstance(rule, dict) and "lag" in rule else {}
    lag = gateway.validate(_Lag, given, ("alarms", "uplink_backlog"))
    return (lag or _Lag()).lag
