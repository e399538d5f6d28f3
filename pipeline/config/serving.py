"""Settings of what others may ask over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from pipeline.config.section import LocalPath, Section


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

    @model_validator(mode="after")
    def _pairs(self) -> ServeSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together, and one of them is missing")
        return self
