"""`/`, the live page, and `/docs`, where the API is told: static files of the package."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from pipeline.service.service import Service

FOLDER = files("pipeline.service") / "page"
KINDS = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def routes(service: Service) -> APIRouter:
    """What a browser gets."""
    router = APIRouter(include_in_schema=False)
    known = {one.name: one for one in FOLDER.iterdir() if one.name.rpartition(".")[2] in KINDS}

    def answer(name: str) -> Response:
        kind = KINDS[name.rpartition(".")[2]]
        return FileResponse(str(known[name]), media_type=kind, headers=HEADERS)

    @router.get("/", response_class=Response)
    def page() -> Response:
        return answer("index.html")

    @router.get("/docs", response_class=Response)
    def reference() -> Response:
        return answer("reference.html")

    @router.get("/page/{name}", response_class=Response)
    def part(name: str) -> Response:
        if name not in known:
            raise HTTPException(404, "the page has no such file")
        return answer(name)

    return router
