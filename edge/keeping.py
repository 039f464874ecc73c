"""How the site file says that history is kept, for the task that keeps it; and what that task has to tell."""

from __future__ import annotations

from drivers.driver import Clock
from edge.clerk import Clerk
from edge.site import Site
from edge.store.budget import RANKS
from edge.store.keeper import Keeper, Keeping, Shed
from edge.store.packer import Closing
from edge.store.readings import ReadingsStore

HEARTBEATS = 2
"""A value is taken to hold until so many heartbeats have been missed."""


def history_keeper(site: Site, store: ReadingsStore, clerk: Clerk, clock: Clock) -> Keeper:
    """The keeper of a site's history; what the budget costs goes into the journal."""
    spec = site.storage
    store.values_hold(round(spec.heartbeat * HEARTBEATS * 1e9))
    keeping = Keeping(
        Closing(round(spec.pack_after * 1e9)),
        round(spec.keep * 1e9),
        round(spec.keep_summaries.minutes * 1e9),
        round(spec.keep_summaries.hours * 1e9),
        spec.budget,
        {each.id: RANKS.index(each.equipment_class) for each in site.equipment.values()},
    )

    async def told(shed: Shed, used: int) -> None:
        body = {"event": "shed", "readings": dict(shed), "used_bytes": used, "budget_bytes": spec.budget}
        await clerk.note("storage", "budget", body)

    return Keeper(store, keeping, clock, tuple(site.uplinks), told)
