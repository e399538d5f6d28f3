"""What all settings have in common: frozen, unknown keys refused, paths spelled out."""

from __future__ import annotations

import os
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationInfo,
    field_validator,
)

from pipeline.paths import expanded


def _spelled_out(value: Any) -> Any:
    """A path as text, `~` spelled out; URLs stay what they are."""
    return expanded(value) if isinstance(value, str | os.PathLike) else value


LocalPath = Annotated[str, BeforeValidator(_spelled_out)]


class Section(BaseModel):
    """One section of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_word_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """`true` is no 1: who writes it means something else."""
        kind = cls.model_fields[str(info.field_name)].annotation
        allowed = (kind, *get_args(kind))
        if isinstance(value, bool) and bool not in allowed and True not in allowed:
            raise ValueError("takes no true or false")
        return value
