"""What the service cannot do as things are; the API answers each with a status of its own."""

from __future__ import annotations

from pipeline.errors import ConfigError


class Conflict(ConfigError):
    """What is asked for does not fit what there is: the id is taken, the service is ending."""


class NotFound(ConfigError):
    """There is no such stream."""
