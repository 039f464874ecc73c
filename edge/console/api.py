"""The HTTP API: what people and programs may ask of the desk, under `/api/v1`, described at `/api/docs`.

What comes in: requests that the guard has let through. What goes out: the desk's rows as plain JSON. Nothing is
decided here; each route is the desk's method of the same name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from drivers.driver import Clock
from drivers.units import parse_seconds
from edge import __version__
from edge.clock import SystemClock
from edge.console import pages
from edge.console.answers import DeskRoute, Json, failure, install
from edge.console.guard import ConsoleSettings, Guard, authorised
from edge.console.stream import Streams
from edge.console.timespan import parse_month, parse_time_ns
from edge.console.views import (
    Aggregate,
    AlarmAsked,
    AlarmStep,
    AlarmView,
    CommandView,
    ConnectionView,
    Desk,
    EquipmentView,
    ErrorView,
    EventKind,
    HealthView,
    IncidentAsked,
    IncidentStep,
    IncidentView,
    MeterView,
    OrderAsked,
    OrderStep,
    OrderView,
    PlaceView,
    PointView,
    ReadingView,
    SiteView,
    StorageView,
    UplinkView,
    WriteAsked,
    problems,
)
from edge.metrics import CONTENT_TYPE, Metrics

DEFAULT_SPAN_NS = 3_600 * 10**9
REPORT_SPAN_NS = 24 * DEFAULT_SPAN_NS
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorView, "description": text}
    for code, text in {
        404: "There is none of that id",
        409: "Not in its present state",
        422: "Not allowed, or not well formed",
        503: "Not at this moment",
    }.items()
}


_AGGREGATES = (
    "What a step tells of its good values: `mean` (the default), `min`, `max`, `last`, `count`; `twa`, the mean "
    "weighted by how long each value held, gaps left out, of a switch the share of time for which it was on; "
    "`increase` of a counter, resets taken for zero. A step without any good value tells its last, with its quality."
)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
v1 = APIRouter(prefix="/api/v1", route_class=DeskRoute, responses=_ERRORS)
root = APIRouter(route_class=DeskRoute)


def _found(row: Any, what: str, wanted: str) -> Json:
    if row is None:
        raise HTTPException(404, f"there is no {what} {wanted[:100]!r}")
    return Json(row)


@v1.get("/site", response_model=SiteView, tags=["site"])
async def site(desk: AtDesk) -> Response:
    """The community: id, name, time zone, language."""
    return Json(desk.site())


@v1.get("/place", response_model=PlaceView, tags=["gateway"])
async def place(desk: AtDesk) -> Response:
    """Where on its box the gateway keeps its files: for commands that work on them beside it."""
    return Json(desk.place())


@v1.get("/equipment", response_model=list[EquipmentView], tags=["site"])
async def equipment(desk: AtDesk) -> Response:
    """All equipment."""
    return Json(desk.equipment())


@v1.get("/equipment/{equipment_id:path}", response_model=EquipmentView, tags=["site"])
async def equipment_one(equipment_id: str, desk: AtDesk) -> Response:
    """One equipment."""
    return _found(desk.equipment_one(equipment_id), "equipment", equipment_id)


@v1.get("/points", response_model=list[PointView], tags=["points"])
async def points(desk: AtDesk, equipment: Annotated[list[str] | None, Query(max_length=200)] = None) -> Response:
    """Points with their newest readings; only of `equipment` (which may stand several times) where it is given."""
    if not equipment:
        return Json(desk.points())
    return Json([row for each in dict.fromkeys(equipment) for row in desk.points(each)])


@v1.get("/points/{point_id:path}", response_model=PointView, tags=["points"])
async def point(point_id: str, desk: AtDesk) -> Response:
    """One point with its newest reading."""
    return _found(desk.point(point_id), "point", point_id)


@v1.post("/points/{point_id:path}/write", response_model=CommandView, tags=["points"])
async def write_point(point_id: str, asked: WriteAsked, desk: AtDesk) -> Response:
    """Give a command to a device, or for a time. Only writable points, by their guards; read back, journalled."""
    return Json(await desk.write_point(point_id, asked.value, asked.who, asked.reason, asked.for_s))


@v1.get("/readings", response_model=list[ReadingView], tags=["points"])
async def readings(
    request: Request,
    desk: AtDesk,
    point: str,
    start: Annotated[
        str | None, Query(alias="from", description="ISO 8601 or Unix time; an hour before `to`")
    ] = None,
    to: Annotated[str | None, Query(description="ISO 8601 or Unix time; now")] = None,
    every: Annotated[
        str | None, Query(description="One for each step of this time, e.g. `5m`; steps begin at multiples of it")
    ] = None,
    aggregate: Annotated[Aggregate | None, Query(description=_AGGREGATES)] = None,
) -> Response:
    """What was recorded of a point, oldest first; at most 10,000, then ask on behind the last.

    Spans older than `storage.keep` are told by summaries of 5 minutes, then of hours.
    """
    zone = str(desk.site().get("timezone", "UTC"))
    try:
        to_ns = parse_time_ns(to, zone) if to else request.app.state.clock.wall_ns()
        from_ns = parse_time_ns(start, zone) if start else to_ns - DEFAULT_SPAN_NS
        every_ns = round(parse_seconds(every) * 1e9) if every else None
    except ValueError as error:
        return failure(422, str(error))
    if from_ns > to_ns:
        return failure(422, "`from` is after `to`", "swap them")
    if from_ns == to_ns:
        return Json([])  # whoever asks page after page may end just here
    if every_ns is not None and every_ns < 1:
        return failure(422, "`every` must be longer than nothing", "write it like 10s, 5m, 1h")
    if aggregate is not None and every_ns is None:
        return failure(
            422, "`aggregate` needs `every`: it says what is told of a step", "add every=5m, or leave it out"
        )
    return Json(await desk.readings(point, from_ns, to_ns, every_ns, aggregate or "mean"))


@v1.get("/alarms", response_model=list[AlarmView], tags=["alarms"])
async def alarms(desk: AtDesk, state: str | None = None) -> Response:
    """Alarms that are not normal, or those in one state."""
    return Json(desk.alarms(state))


@v1.post("/alarms/{alarm_id:path}/{step}", response_model=AlarmView, tags=["alarms"])
async def alarm_step(alarm_id: str, step: AlarmStep, asked: AlarmAsked, desk: AtDesk) -> Response:
    """Acknowledge, shelve (with `reason` and `minutes`), unshelve or reset an alarm."""
    if step == "shelve" and not (asked.reason and asked.minutes):
        return failure(422, "shelving needs `reason` and `minutes`", "say why, and for how long (1 to 1440)")
    return Json(await desk.alarm_step(alarm_id, step, asked.who, asked.reason or "", asked.minutes))


@v1.get("/incidents", response_model=list[IncidentView], tags=["alarms"])
async def incidents(desk: AtDesk, state: Literal["open", "acknowledged", "closed"] | None = None) -> Response:
    """Incidents that are not closed, or those in one state; `closed` gives those closed lately."""
    return Json(desk.incidents(state))


@v1.get("/incidents/{incident_id}", response_model=IncidentView, tags=["alarms"])
async def incident(incident_id: str, desk: AtDesk) -> Response:
    """One incident with its alarms, first out first, and its timeline: who was told, who did what, and when."""
    return _found(await desk.incident(incident_id), "incident", incident_id)


@v1.post("/incidents/{incident_id}/{step}", response_model=IncidentView, tags=["alarms"])
async def incident_step(incident_id: str, step: IncidentStep, asked: IncidentAsked, desk: AtDesk) -> Response:
    """Acknowledge all alarms of an incident, or say that somebody is on site, is released, or anything else."""
    if step == "note" and not asked.note:
        return failure(422, "a note needs a `note`", "write what was seen or done")
    return Json(await desk.incident_step(incident_id, step, asked.who, asked.note or ""))


@v1.get("/reports/alarms", tags=["alarms"])
async def alarm_report(
    request: Request,
    desk: AtDesk,
    month: Annotated[str | None, Query(description="YYYY-MM of the community's calendar")] = None,
    start: Annotated[str | None, Query(alias="from", description="ISO 8601 or Unix time; a day before `to`")] = None,
    to: Annotated[str | None, Query(description="ISO 8601 or Unix time; now")] = None,
) -> Response:
    """How good the alarms are: rates, peaks, the ten that came oftenest, chattering, stale, time to acknowledge."""
    zone = str(desk.site().get("timezone", "UTC"))
    try:
        if month:
            from_ns, to_ns = parse_month(month, zone)
        else:
            to_ns = parse_time_ns(to, zone) if to else request.app.state.clock.wall_ns()
            from_ns = parse_time_ns(start, zone) if start else to_ns - REPORT_SPAN_NS
    except ValueError as error:
        return failure(422, str(error))
    if from_ns >= to_ns:
        return failure(422, "`from` is not before `to`", "swap them")
    return Json(await desk.alarm_report(from_ns, to_ns))


@v1.get("/journal", tags=["alarms"])
async def journal(
    desk: AtDesk,
    kind: str | None = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Only entries with a higher number")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What is written in the ledger: alarm transitions, commands, orders, pushes."""
    return Json(await desk.journal(kind, after, limit))


@v1.get("/orders", response_model=list[OrderView], tags=["orders"])
async def orders(desk: AtDesk, state: str | None = None) -> Response:
    """Work orders, or those in one state."""
    return Json(desk.orders(state))


@v1.get("/orders/{order_id:path}", response_model=OrderView, tags=["orders"])
async def order(order_id: str, desk: AtDesk) -> Response:
    """One work order."""
    return _found(next((row for row in desk.orders() if row["id"] == order_id), None), "work order", order_id)


@v1.post("/orders/{order_id:path}/{step}", response_model=OrderView, tags=["orders"])
async def order_step(order_id: str, step: OrderStep, asked: OrderAsked, desk: AtDesk) -> Response:
    """Move a work order one step on."""
    if step == "cancel" and not asked.note:
        return failure(422, "cancelling needs a `note`", "say why the task is not done")
    return Json(await desk.order_step(order_id, step, asked.who, asked.note or ""))


@v1.get("/connections", response_model=list[ConnectionView], tags=["gateway"])
async def connections(desk: AtDesk) -> Response:
    """Ways to devices: state, use of the wire, what went wrong."""
    return Json(desk.connections())


@v1.get("/uplinks", response_model=list[UplinkView], tags=["gateway"])
async def uplinks(desk: AtDesk) -> Response:
    """Ways out: state, how far behind, what was rejected."""
    return Json(desk.uplinks())


@v1.get("/storage", response_model=StorageView, tags=["gateway"])
async def storage(desk: AtDesk) -> Response:
    """How much history is kept, and what the disk budget has cost; empty in the first moments after a start."""
    return Json(desk.health().get("storage", {}))


@v1.get("/meters", response_model=list[MeterView], tags=["orders"])
async def meters(desk: AtDesk) -> Response:
    """What upkeep counts by."""
    return Json(desk.meters())


@v1.get("/events", response_class=StreamingResponse, tags=["events"])
async def events(
    request: Request, desk: AtDesk, kind: Annotated[list[EventKind] | None, Query(max_length=7)] = None
) -> Response:
    """What happens, as server-sent events; only of `kind` (which may stand several times) where it is given.

    An event `missed` says that the reader was too slow: fetch the lists anew.
    """
    streams: Streams = request.app.state.streams
    if streams.full:
        return failure(503, "too many event streams are open", "close some pages, or fetch the lists instead")
    return StreamingResponse(
        streams.serve(desk.hub, frozenset(kind or ())),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},
    )


@root.get("/healthz", response_model=HealthView, tags=["gateway"])
async def healthz(request: Request, desk: AtDesk) -> Response:
    """200 where all is well, else 503 with the reasons (without the token: without them)."""
    reasons = problems(desk.health())
    told = reasons if authorised(request.headers, request.app.state.settings.token) else []
    return Json({"status": "degraded" if reasons else "ok", "reasons": told}, 503 if reasons else 200)


@root.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    exposition: Metrics = request.app.state.metrics
    return Response(exposition.render(), media_type=CONTENT_TYPE)


def build_app(
    desk: Desk, settings: ConsoleSettings | None = None, clock: Clock | None = None, streams: Streams | None = None
) -> FastAPI:
    """The console as an ASGI application. Call it inside the event loop that will serve it."""
    app = FastAPI(title="Courtyard", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.desk = desk
    app.state.settings = settings or ConsoleSettings()
    app.state.clock = clock or SystemClock()
    app.state.streams = streams or Streams()
    app.state.metrics = Metrics(desk)
    app.include_router(v1)
    app.include_router(root)
    app.include_router(pages.router)
    install(app)
    app.add_middleware(_guard, settings=app.state.settings)
    return app


def _guard(app: ASGIApp, settings: ConsoleSettings) -> ASGIApp:
    return Guard(app, settings)
