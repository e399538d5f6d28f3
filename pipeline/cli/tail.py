"""`maskstream tail URL`: records as lines, from wherever a sink puts them."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.telling import give, give_record, heard

if TYPE_CHECKING:
    from pipeline.readers.contract import Records


def tail(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Of a sink, or the path of what it writes.")
    ],
    source: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this source; fills {source}.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more until the stream ends.")
    ] = True,
    last: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1_000_000_000,
            metavar="N",
            help="Of what is there only so many, and all that comes.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The records as they are.")] = False,
) -> None:
    """Show what a sink has written, and what it writes from now on."""
    from pipeline.formats import jsonl
    from pipeline.readers import records

    with _until_asked() as leave, closing(records(url, source=source, follow=follow)) as found:
        for record in found if last is None else _from_last(found, last):
            if record is None:
                if not heard():
                    return
            elif as_json:
                give_record(jsonl.dumps(record))
            else:
                give(_told(record))
            if leave.is_set():
                return


def _from_last(found: Records, count: int) -> Iterator[dict[str, Any] | None]:
    """So many of the records that are there, and all that come."""
    yield from deque(takewhile(lambda record: record is not None, found), maxlen=count)
    yield from found


@contextmanager
def _until_asked() -> Iterator[threading.Event]:
    """Set by the first SIGINT: raised in the middle of a line it would be written twice."""
    leave = threading.Event()

    def asked(number: int, _: object) -> None:
        leave.set()
        signal.signal(number, signal.SIG_DFL)  # who asks again means at once

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield leave
    finally:
        signal.signal(signal.SIGINT, before)


def _told(record: dict[str, Any]) -> str:
    """A record in words; one of another version or maker as it is."""
    from pipeline.formats import jsonl

    try:
        return _line(record)
    except (KeyError, TypeError, ValueError, AttributeError):
        return jsonl.dumps(record).decode()


def _line(record: dict[str, Any]) -> str:
    """A record in some words: source, frame, time, and what is there."""
    if "outcome" in record:
        published = record["accounting"]["published"]
        reason = f": {record['reason']}" if record["reason"] else ""
        return (
            f"{record['source']} ended, {record['outcome']}{reason}; {published} frames published"
        )
    time = f" {record['pts_s']:.3f} s" if "pts_s" in record else ""
    place = f"{record['source']} {record['frame']}{time}"
    if "event" in record:
        return f"{place}  {record['event']} {_name(record)}"
    return f"{place}  {', '.join(map(_name, record.get('instances', ()))) or '-'}"


def _name(found: dict[str, Any]) -> str:
    """An instance, or what an event is of."""
    known = (found.get("label"), found.get("track"), found.get("score"))
    return " ".join(str(word) for word in known if word is not None)
