"""What a worker process wants its user to know travels with its reports, one line a message.

Ray's own forwarding of output is off: it mixes processes, repeats itself and shows what is not for
users. A worker keeps its latest messages here, the supervisor fetches them with every report and
hands them to its own loggers. Tracebacks stay in the worker's own file, which goes with the run.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.secrets import scrub


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a worker."""

    level: int
    logger: str
    text: str
    source_id: str | None = None


class LogTail(logging.Handler):
    """Keeps the latest messages until they are fetched; the oldest go first, counted.

    Args:
        capacity: messages kept.
        level: below it nothing is kept.
    """

    def __init__(self, capacity: int = 200, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._lines: deque[Line] = deque(maxlen=capacity)
        self._missed = 0
        self._door = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first line of a message, with its error where it has one."""
        text = record.getMessage().strip().partition("\n")[0]
        if record.exc_info and (error := record.exc_info[1]) is not None:
            text = f"{text}: {type(error).__name__}: {scrub(str(error))}".partition("\n")[0]
        source_id = getattr(record, "source_id", None)
        with self._door:
            self._missed += len(self._lines) == self._lines.maxlen
            self._lines.append(Line(record.levelno, record.name, text, source_id))

    def take(self) -> list[Line]:
        """The messages since the last call."""
        with self._door:
            lines, missed = list(self._lines), self._missed
            self._lines.clear()
            self._missed = 0
        if missed:
            text = f"{missed} earlier messages were not kept"
            lines.insert(0, Line(logging.WARNING, __name__, text))
        return lines


def collect() -> LogTail:
    """Keep what this worker process logs under `pipeline` and `workers`; tracebacks to stderr."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    tail = LogTail()
    for name in ("pipeline", "workers"):
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).addHandler(tail)
    return tail


def relay(lines: Sequence[Line], *, worker: str) -> None:
    """Log in this process what a worker logged in its own."""
    for line in lines:
        where = f"{line.source_id or worker}: "
        text = line.text.removeprefix(where)  # sources name themselves
        logging.getLogger(line.logger).log(
            line.level, "%s%s", where, text, extra={"source_id": line.source_id}
        )
