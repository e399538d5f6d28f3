"""What a run answers over HTTP: metrics and health."""

from workers.http.server import serve

__all__ = ["serve"]
