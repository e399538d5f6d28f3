"""Who may ask the service for what: tokens, sessions of browsers, and the gate before the API."""

from pipeline.service.access.door import Door
from pipeline.service.access.tokens import new_token

__all__ = ["Door", "new_token"]
