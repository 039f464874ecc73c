"""How the console answers: JSON, and one shape for all that goes wrong (`error`, `hint`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

STATUS_OF_REFUSAL = {"not_found": 404, "conflict": 409, "refused": 422, "unavailable": 503}
_HINTS = {
    404: "the ids are in the lists: GET /api/v1/equipment, /points, /alarms, /orders",
    409: "look at its present state and decide again",
    422: "see /api/docs for what is allowed",
    503: "try again in a moment; courtyard status says what is wrong",
}


class Json(Response):
    """A JSON answer, encoded once. Numbers that JSON does not know become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)


def failure(status: int, error: str, hint: str = "") -> Json:
    """An answer that says what was wrong and what to do."""
    return Json({"error": error, "hint": hint or _HINTS.get(status, "see /api/docs")}, status)


def refusal_status(error: Exception) -> int | None:
    """The HTTP status of a refusal of the desk; None for any other exception.

    The desk's refusal is known by its `kind`, as the desk itself is known by its methods only.
    """
    return STATUS_OF_REFUSAL.get(str(getattr(error, "kind", "")))


class DeskRoute(APIRoute):
    """A route whose desk may refuse."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with refusals turned into answers."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                status = refusal_status(error)
                if status is None:
                    raise
                return failure(status, str(getattr(error, "message", error)), str(getattr(error, "hint", "")))

        return answer


async def _http_error(_: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this type only
    if error.status_code == 405:
        return failure(405, "this is not done by that method", "see /api/docs")
    detail = str(error.detail)
    if error.status_code == 400:
        return failure(400, "body: is not JSON", "send one JSON object in UTF-8")
    if detail == HTTPStatus(error.status_code).phrase and error.status_code == 404:
        detail = "there is nothing at this address"
    return failure(error.status_code, detail)


async def _invalid(_: Request, error: Exception) -> Json:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this type only
    faults = {f"{_where(item['loc'])}: {_message(item)}": None for item in error.errors()}
    return failure(422, "; ".join(faults), "see /api/docs for what is allowed")


def _where(loc: tuple[int | str, ...]) -> str:
    """The field of a mistake, without the steps into a union, which the asker did not write."""
    return str(loc[1] if len(loc) > 1 and isinstance(loc[1], str) else loc[0])


def _message(item: dict[str, Any]) -> str:
    """pydantic's message without the input, which may be anything at all."""
    if item["type"] == "json_invalid":
        return "is not JSON"
    if item["type"] == "missing":
        return "is missing"
    if item["type"] == "extra_forbidden":
        return "is not known here"
    return str(item["msg"]).removeprefix("Value error, ")


async def _unexpected(_: Request, __: Exception) -> Json:
    return failure(500, "the console stumbled over this request", "the log of the daemon has the details")


def install(app: FastAPI) -> None:
    """Give an application these answers."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)
