"""The pages that staff open: the status page and the description of the API, with their few files.

All of it travels with the package and is served from memory; nothing is fetched from elsewhere.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from edge.console.answers import Json

STATIC = Path(__file__).resolve().parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Content, type and ETag of each file, by name."""
    found = {}
    for path in sorted(STATIC.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            found[path.name] = (content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


@router.get("/")
async def status_page(request: Request, lang: Literal["zh", "en"] | None = None) -> Response:
    """The status page, in the language asked for or the site's."""
    return _page("index.html", lang or _language(request))


@router.get("/incidents/{incident_id}")
async def incident_page(request: Request, incident_id: str, lang: Literal["zh", "en"] | None = None) -> Response:
    """One incident as a sheet to be printed, in the language asked for or the site's; the page fetches its facts."""
    del incident_id
    return _page("incident.html", lang or _language(request))


def _language(request: Request) -> str:
    return "en" if request.app.state.desk.site().get("language") == "en" else "zh"


@router.get("/api/docs")
async def api_docs(lang: Literal["zh", "en"] = "en") -> Response:
    """The API, described by a page of our own that needs no network."""
    return _page("docs.html", lang)


@router.get("/api/openapi.json")
async def openapi(request: Request) -> Response:
    """The API, described for programs."""
    return Json(request.app.openapi())


@router.get("/static/{name}")
async def static(name: str, request: Request) -> Response:
    """One file of a page."""
    if name not in _files() or name.endswith(".html"):
        raise HTTPException(404)
    content, kind, etag = _files()[name]
    headers = {"etag": etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def _page(name: str, language: str) -> Response:
    content, kind, _ = _files()[name]
    # The only thing that is put into a page here; everything else the page fetches and sets as text.
    return Response(content.replace(b'<html lang="zh">', f'<html lang="{language}">'.encode()), media_type=kind)
