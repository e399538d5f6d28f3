"""Records as objects in a store, one for each period of the source's own time."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pipeline.delivery.client import Message, Unreachable, Unwelcome, numbered
from pipeline.delivery.gathering import END
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import open_service

TIMEOUT_S = 10.0
SCHEMA = "maskstream.objects/1"
BEGIN, SUFFIX = "begin.json", ".jsonl.gz"
LAST = END + SUFFIX
_GZIP = 3
"""A megabyte takes 10 ms and is a third then; with 9 it takes 30 ms for another tenth."""


class NoBucket(Unwelcome):
    """There is no bucket of this name."""


class NoObject(Unwelcome):
    """There is no object of this name."""


class Store(Protocol):
    """One bucket of a store of objects, and what its answers mean to a user.

    Nothing is asked twice here, who asks again is the courier. Every method raises `NotSent`:
    `Unreachable`, `Unwelcome`, or that as `NoBucket` or `NoObject`.
    """

    where: str
    """As messages call it."""

    def put(
        self, name: str, body: bytes, *, last: str | None = None, replaces: bool = False
    ) -> bool:
        """Put an object; False: there is one of that name, and it stays.

        Args:
            name: of the object.
            body: of it.
            last: kept with it, see `last_in`.
            replaces: put it whatever is there.
        """

    def last_in(self, name: str) -> str | None:
        """What `put` was given with it; None: nothing."""

    def made_at(self, name: str) -> datetime:
        """When it was put, to the second."""

    def get(self, name: str) -> bytes:
        """The whole object."""

    def delete(self, name: str) -> None:
        """Take an object away; nothing where there is none."""

    def names(self, folder: str, behind: str = "") -> Iterator[str]:
        """Names of the objects right in a folder, which sort behind one of them, in order."""

    def folders(self, folder: str) -> Iterator[str]:
        """Names of the folders right in a folder, or in the bucket (empty)."""

    def make(self) -> None:
        """Make the bucket."""

    def close(self) -> None:
        """Let go of the connection; the next question makes another."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What is told of a run before its first record."""

    run: str
    source: str
    slice_s: int

    def dumps(self) -> bytes:
        """As JSON."""
        told = {"schema": SCHEMA, "run": self.run, "source": self.source, "slice_s": self.slice_s}
        return json.dumps(told, separators=(",", ":")).encode()


class ObjectsClient:
    """Taken means that the store has answered that it has the object.

    Each record once and in order. The name of an object follows from the time of its records, and
    it is put only where there is none of that name (`If-None-Match: *`). Where there is one, that
    says which record is its last: what is behind becomes the next piece of the slot, the rest is
    there already. So it does not matter how a slot came to its pieces, in this run of the command
    or one before. What is told once the stream has ended is the one object that is replaced, when
    the run goes on and ends again.

    Args:
        store: nobody else asks it.
        folder: where in the bucket; each run has its own in there.
        begin: of the run that is to come.
        creates: make the bucket where there is none.
    """

    batch = 20_000
    batch_bytes = 8 << 20

    def __init__(self, store: Store, *, folder: str, begin: Begin, creates: bool) -> None:
        self.patience_s = float(begin.slice_s)
        self._store, self._folder = store, folder
        self._begin, self._creates = begin, creates
        self._next = "", 0
        """The slot that was put last, and the number of its next piece."""

    def connect(self) -> None:
        """See that we may put objects, that none is replaced, and in which slices the run is."""
        name, begin = f"{self._folder}/{self._begin.run}/{BEGIN}", self._begin.dumps()
        try:
            fresh = self._store.put(name, begin)
        except NoBucket:
            if not self._creates:
                raise
            self._store.make()
            fresh = self._store.put(name, begin)
        if fresh and self._store.put(name, begin):
            raise Unwelcome(
                f"{self._store.where}: replaces an object in spite of If-None-Match, so records "
                "could be lost; take a store that knows conditional puts"
            )
        if not fresh and self._store.get(name) != begin:
            raise Unwelcome(
                f"{self._store.where}: {name} is of other slices than slice={self._begin.slice_s}s"
                "; name those, or another prefix"
            )

    def send(self, batch: Sequence[Message]) -> None:
        """Put all, which have one slot, as one object; without those that are there already."""
        try:
            self._send(batch[0].slot, batch)
        except NoBucket as gone:
            if not self._creates:
                raise
            raise Unreachable(str(gone)) from gone  # it is made at the next connection

    def _send(self, slot: str, batch: Sequence[Message]) -> None:
        if slot.endswith(f"/{END}"):
            self._put(slot, batch, replaces=True)
            return
        if int(slot.rpartition("-")[2]) % self._begin.slice_s:
            raise Unwelcome(
                f"{self._store.where}: what waits in the spool is of other slices than "
                f"slice={self._begin.slice_s}s; name those until it is sent"
            )
        piece = self._next[1] if self._next[0] == slot else 0
        while not self._put(f"{slot}-{piece:04d}", batch):
            batch = self._behind(f"{slot}-{piece:04d}", batch)
            if not batch:  # this piece may have more of what comes
                break
            piece += 1
        else:
            piece += 1
        self._next = slot, piece

    def close(self) -> None:
        """Let go of the connection."""
        self._store.close()

    def _put(self, name: str, batch: Sequence[Message], *, replaces: bool = False) -> bool:
        lines = b"".join(message.body + b"\n" for message in batch)
        return self._store.put(
            f"{self._folder}/{name}{SUFFIX}",
            gzip.compress(lines, _GZIP, mtime=0),
            last=batch[-1].key,
            replaces=replaces,
        )

    def _behind(self, name: str, batch: Sequence[Message]) -> list[Message]:
        """What an object that is there does not have."""
        path = f"{self._folder}/{name}{SUFFIX}"
        try:
            origin, last = numbered(self._store.last_in(path) or "")
        except ValueError:
            origin, last = "", (0, 0, 0)
        if origin != numbered(batch[0].key)[0]:
            raise Unwelcome(
                f"{self._store.where}: {path} is there and not of this source; remove it, or name "
                "another prefix"
            )
        return [message for message in batch if numbered(message.key)[1] > last]


def folder_of(prefix: str, source_id: str) -> str:
    """Where the runs of a source are; a prefix that ends with it is that already."""
    if prefix.rpartition("/")[2] == source_id:
        return prefix
    return f"{prefix}/{source_id}" if prefix else source_id


def open_objects(target: SinkTarget, store: Store, prefix: str, *, creates: bool) -> ServiceSink:
    """A sink that puts objects into a store.

    Args:
        target: of the sink.
        store: where to.
        prefix: of all names in it, without slashes around.
        creates: make the bucket where there is none.
    """
    slice_s = int(target.options["slice"])
    client = ObjectsClient(
        store,
        folder=folder_of(prefix, target.source_id),
        begin=Begin(target.run, target.source_id, slice_s),
        creates=creates,
    )
    return open_service(target, client, slice_s=slice_s)
