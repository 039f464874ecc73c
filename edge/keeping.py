"""How the site file says that history is kept, for the task that keeps it; and what that task has to tell."""

from __future__ import annotations

import logging

from drivers.driver import Clock
from edge.clerk import Clerk
from edge.site import Site
from edge.store.aging import Aging, AgingNews
from edge.store.budget import RANKS
from edge.store.digests import DAY_NS
from edge.store.keeper import Keeper, Keeping, Shed
from edge.store.ledger import Ledger
from edge.store.packer import Closing
from edge.store.readings import ReadingsStore

HEARTBEATS = 2
"""A value is taken to hold until so many heartbeats have been missed."""


AGING = ("time", "aging")
"""Where the ledger keeps up to which time history was aged."""

log = logging.getLogger(__name__)


async def known_age(ledger: Ledger, store: ReadingsStore, clock: Clock, boot: str) -> Aging:
    """The time by which history is old, where the last run left it."""
    kept = (await ledger.load(AGING[0])).get(AGING[1])
    newest = await ledger.journal(newest_first=True, limit=1)
    newest_ns = max([store.newest_ns, *(entry.time_ns for _, entry in newest)])
    return Aging(clock, kept, newest_ns, boot)


def history_keeper(site: Site, store: ReadingsStore, clerk: Clerk, clock: Clock, aging: Aging) -> Keeper:
    """The keeper of a site's history; what the budget costs, and what the clock does, goes into the journal."""
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

    async def leaped(news: AgingNews) -> None:
        log.warning("%s", _said(news))
        body = {"event": news.event, "leap_s": news.leap_ns / 1e9, "hold_s": news.hold_s}
        await clerk.note("storage", "aging", body, {AGING: aging.body()})

    keeper = Keeper(store, keeping, clock, tuple(site.uplinks), told, aging)
    keeper.leaped = leaped
    return keeper


def _said(news: AgingNews) -> str:
    """For the log."""
    ahead = f"{news.leap_ns / DAY_NS:.1f} days ahead of what was known"
    if news.event == "held":
        return (
            f"the clock is {ahead}: nothing is deleted by age on its word until the box has run on for "
            f"{news.hold_s * 1e9 / DAY_NS:.1f} days; check the date, and set it right if it is wrong"
        )
    if news.event == "believed":
        return f"the clock, once {ahead}, is believed now: old history goes by it"
    return f"the clock, {ahead}, was set back: nothing was deleted on its word"
