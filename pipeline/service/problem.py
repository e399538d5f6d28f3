"""What is wrong, as `application/problem+json` (RFC 9457): status, title and one line."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse

from pipeline.plain import plain
from pipeline.secrets import mask_url, scrub

TYPE = "application/problem+json"


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says what is wrong."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": plain(scrub(mask_url(detail))),
    }
    return JSONResponse(body, status_code=status, media_type=TYPE, headers=headers)
