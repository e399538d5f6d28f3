"""Settings of what others may ask over HTTP."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from pipeline.config.section import LocalPath, Section

_PATTERN = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:"
    r"(?://(?:[\w*.-]+|[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*)(?:/\d{1,3})?|(?!//)[^\s?][^?]*)"
)
"""A scheme, and a host or network or a folder."""


class MetricsSettings(Section):
    """Where Prometheus may look."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="Port of /metrics, /healthz and /readyz; 0 picks a free one."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; loopback addresses only.")

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        if value not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(
                "must be a loopback address; put a proxy with authentication before it"
            )
        return value


class ServeSettings(Section):
    """What `maskstream serve` listens on, and whom it trusts; `run` takes no notice of it."""

    host: str = Field("127.0.0.1", description="Address of the API, the page and the metrics.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8710, description="Port of them; 0 picks a free one."
    )
    token_file: LocalPath | None = Field(
        None,
        description="A file with the tokens of those who may do everything, one a line, as text or "
        "`sha256:HEX`. Beyond loopback there must be one.",
    )
    token_env: str | None = Field(
        None, description="Name of the environment variable that holds such a token."
    )
    read_token_file: LocalPath | None = Field(
        None, description="A file with the tokens of those who may look and change nothing."
    )
    read_token_env: str | None = Field(
        None, description="Name of the environment variable that holds such a token."
    )
    tls_cert: LocalPath | None = Field(
        None, description="Certificate (PEM) to answer with; beyond loopback tokens travel hidden."
    )
    tls_key: LocalPath | None = Field(None, description="Key of `tls_cert` (PEM).")
    behind_proxy: bool = Field(
        False,
        description="A proxy that encrypts hands everything on to here, and says in "
        "`X-Forwarded-For` and `X-Forwarded-Proto` who asked, and how.",
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Names by which this service is asked for, beside `localhost` and addresses; "
        "`*.example.org` stands for all below.",
    )

    allow: tuple[str, ...] = Field(
        ("rtsp://*", "rtsps://*", "http://*", "https://*", "synthetic://*"),
        description="Sources that may be named over the API, as `SCHEME://HOST` or `file:FOLDER`. "
        "A host is a name, an address or a network (`10.0.0.0/8`); `*` and `*.example.org` leave "
        "out this machine itself and link-local and metadata addresses.",
    )
    allow_sinks: tuple[str, ...] = Field(
        (),
        description="Sinks that may be named over the API beside those of the configuration, as "
        "`jsonl:FOLDER/` or `redis://HOST`.",
    )
    allow_secrets: bool = Field(
        False,
        description="Whether the API may name files and environment variables of this machine: "
        "`password_file`, `password_env`, `tls_ca_file` and the like.",
    )

    allow_models: tuple[str, ...] = Field(
        (),
        description="Folders whose weights may be named over the API beside published ones and "
        "those of the configuration, as `file:FOLDER`.",
    )

    @field_validator("allow_models")
    @classmethod
    def _folders(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for one in values:
            if not one.startswith("file:") or one == "file:":
                raise ValueError(f"{one!r} is no file:FOLDER")
        return values

    @field_validator("allow", "allow_sinks")
    @classmethod
    def _patterns(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for one in values:
            if not _PATTERN.fullmatch(one):
                raise ValueError(
                    f"{one!r} is no SCHEME://HOST, without port and path, and no SCHEME:FOLDER"
                )
        return values

    @model_validator(mode="after")
    def _pairs(self) -> ServeSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together, and one of them is missing")
        return self
