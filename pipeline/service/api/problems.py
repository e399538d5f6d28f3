"""What goes wrong behind the API, made a problem; and how that is documented."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipeline.errors import MaskstreamError, in_one_line
from pipeline.runtime.changes import NotNow
from pipeline.service.access.allowed import NotAllowed
from pipeline.service.problem import TYPE, problem
from pipeline.service.refusals import Conflict, NotFound

log = logging.getLogger(__name__)

REFUSED = 422
"""Of a request that is understood and cannot be carried out."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems a route may answer with, for its documentation."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {TYPE: {"schema": {"type": "object"}}},
        }
        for status in statuses
    }


def explain(api: FastAPI) -> None:
    """Have everything that goes wrong answered like this."""

    @api.exception_handler(MaskstreamError)
    def refused(request: Request, error: MaskstreamError) -> JSONResponse:
        kinds: dict[type, int] = {NotAllowed: 403, NotFound: 404, Conflict: 409, NotNow: 409}
        return problem(kinds.get(type(error), REFUSED), str(error))

    @api.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(REFUSED, f"{where}: {first['msg']}")

    @api.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, str(error.detail), headers=headers)

    @api.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> JSONResponse:
        return problem(500, f"{request.method} {request.url.path}: {in_one_line(error)}")
