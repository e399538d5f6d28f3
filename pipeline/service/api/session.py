"""`/v1/session`: how a browser comes in, and leaves again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, Field

from pipeline.service.access.door import COOKIE, Caller, Door
from pipeline.service.access.sessions import LASTS_S
from pipeline.service.access.tokens import Role
from pipeline.service.api.problems import documented
from pipeline.service.problem import problem


class SessionRequest(BaseModel):
    """What is shown once."""

    token: Annotated[str, Field(max_length=4096)]


class SessionAnswer(BaseModel):
    """As whom somebody is here."""

    role: Role | None = Field(description="None: a token is needed.")
    asks: bool = Field(description="Whether this service asks for a token.")


def routes(door: Door) -> APIRouter:
    """Coming in and leaving; open to everybody."""
    router = APIRouter(prefix="/v1", tags=["session"])

    @router.get("/session")
    async def who_am_i(request: Request) -> SessionAnswer:
        """Which role the token or cookie of this request has."""
        return SessionAnswer(role=_caller(request).role, asks=bool(door.tokens))

    @router.post("/session", response_model=SessionAnswer, responses=documented(401, 422, 429))
    async def log_in(request: Request, shown: SessionRequest, response: Response) -> object:
        """Show a token and get a cookie for it, which lasts for twelve hours."""
        role = door.tokens.role_of(shown.token) if door.tokens else Role.ADMIN
        if role is None:
            return problem(401, "this token is not known; look into the file of serve.token_file")
        if door.tokens:
            response.set_cookie(
                COOKIE,
                door.sessions.begin(shown.token),
                max_age=int(LASTS_S),
                httponly=True,
                samesite="strict",
                secure=_caller(request).encrypted,
            )
        return SessionAnswer(role=role, asks=bool(door.tokens))

    @router.delete("/session", status_code=204)
    async def log_out(request: Request, response: Response) -> None:
        """Make the cookie worthless."""
        if value := request.cookies.get(COOKIE):
            door.sessions.end(value)
        response.delete_cookie(COOKIE)

    return router


def tell(api: FastAPI) -> None:
    """Have the documentation of the API say how a token is shown."""
    told = api.openapi

    def openapi() -> dict[str, Any]:
        document = told()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
        document["security"] = [{"token": []}]
        return document

    api.openapi = openapi  # type: ignore[method-assign]


def _caller(request: Request) -> Caller:
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)  # noqa: S101 - the gate has put it there
    return caller
