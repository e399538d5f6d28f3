"""What is said as one JSON object a line, for collectors of logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

FIELDS = {"source_id": "source", "frame": "frame"}
"""What a record may know beside its text, and what it is called."""


class JsonLines(logging.Formatter):
    """Formats records as JSON in ASCII: time, level, logger, message, and source and frame."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback is in its `trace`."""
        known = {
            name: value
            for key, name in FIELDS.items()
            if (value := getattr(record, key, None)) is not None
        }
        if record.exc_info:
            known["trace"] = record.exc_text or self.formatException(record.exc_info)
        return json_line(
            record.created, record.levelname, record.name, record.getMessage(), **known
        )


def json_line(at_s: float, level: str, logger: str, message: str, **known: object) -> str:
    """One object, its keys in their fixed order.

    Args:
        at_s: Unix time.
        level: as `logging` calls it.
        logger: who says it.
        message: one line.
        known: what else there is to say.
    """
    time = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    said = {"time": time, "level": level, "logger": logger, "message": message, **known}
    return json.dumps(said, default=str)
