"""`s3://BUCKET/PREFIX`: records as objects, one for each period of the source's own time."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.delivery.client import Message, Unreachable, Unwelcome, numbered
from pipeline.delivery.gathering import END
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.bucket import Bucket, NoBucket
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import open_service, place_of

TIMEOUT_S = 10.0
SCHEMA = "maskstream.objects/1"
BEGIN, SUFFIX = "begin.json", ".jsonl.gz"
LAST = END + SUFFIX
_GZIP = 3
"""A megabyte takes 10 ms and is a third then; with 9 it takes 30 ms for another tenth."""


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


class S3Client:
    """Taken means that the store has answered that it has the object.

    Each record once and in order. The name of an object follows from the time of its records, and
    it is put only where there is none of that name (`If-None-Match: *`). Where there is one, that
    says which record is its last: what is behind becomes the next piece of the slot, the rest is
    there already. So it does not matter how a slot came to its pieces, in this run of the command
    or one before. What is told once the stream has ended is the one object that is replaced, when
    the run goes on and ends again.

    Args:
        bucket: nobody else asks it.
        folder: where in the bucket; each run has its own in there.
        begin: of the run that is to come.
        creates: make the bucket where there is none.
    """

    batch = 20_000
    batch_bytes = 8 << 20

    def __init__(self, bucket: Bucket, *, folder: str, begin: Begin, creates: bool) -> None:
        self.patience_s = float(begin.slice_s)
        self._bucket, self._folder = bucket, folder
        self._begin, self._creates = begin, creates
        self._next = "", 0
        """The slot that was put last, and the number of its next piece."""

    def connect(self) -> None:
        """See that we may put objects, that none is replaced, and in which slices the run is."""
        name, begin = f"{self._folder}/{self._begin.run}/{BEGIN}", self._begin.dumps()
        try:
            fresh = self._bucket.put(name, begin)
        except NoBucket:
            if not self._creates:
                raise
            self._bucket.make()
            fresh = self._bucket.put(name, begin)
        if fresh and self._bucket.put(name, begin):
            raise Unwelcome(
                f"{self._bucket.where}: replaces an object in spite of If-None-Match, so records "
                "could be lost; take a store that knows conditional puts"
            )
        if not fresh and self._bucket.get(name) != begin:
            raise Unwelcome(
                f"{self._bucket.where}: {name} is of other slices than slice={self._begin.slice_s}s"
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
                f"{self._bucket.where}: what waits in the spool is of other slices than "
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
        self._bucket.close()

    def _put(self, name: str, batch: Sequence[Message], *, replaces: bool = False) -> bool:
        lines = b"".join(message.body + b"\n" for message in batch)
        return self._bucket.put(
            f"{self._folder}/{name}{SUFFIX}",
            gzip.compress(lines, _GZIP, mtime=0),
            last=batch[-1].key,
            replaces=replaces,
        )

    def _behind(self, name: str, batch: Sequence[Message]) -> list[Message]:
        """What an object that is there does not have."""
        path = f"{self._folder}/{name}{SUFFIX}"
        try:
            origin, last = numbered(self._bucket.last_in(path) or "")
        except ValueError:
            origin, last = "", (0, 0, 0)
        if origin != numbered(batch[0].key)[0]:
            raise Unwelcome(
                f"{self._bucket.where}: {path} is there and not of this source; remove it, or name "
                "another prefix"
            )
        return [message for message in batch if numbered(message.key)[1] > last]


def bucket_of(target: SinkTarget) -> tuple[Bucket, str]:
    """The bucket a URL names, and the prefix in it without slashes around.

    Raises:
        ConfigError: the secret is not where it should be.
    """
    place, options = place_of(target), target.options
    endpoint = options["endpoint"] and options["endpoint"].rstrip("/")
    bucket = Bucket(place, endpoint=endpoint, region=options["region"], timeout_s=TIMEOUT_S)
    return bucket, place.path.rstrip("/")


def folder_of(prefix: str, source_id: str) -> str:
    """Where the runs of a source are; a prefix that ends with it is that already."""
    if prefix.rpartition("/")[2] == source_id:
        return prefix
    return f"{prefix}/{source_id}" if prefix else source_id


def open_s3(target: SinkTarget) -> ServiceSink:
    """Open `s3://BUCKET/PREFIX`."""
    bucket, prefix = bucket_of(target)
    slice_s = int(target.options["slice"])
    client = S3Client(
        bucket,
        folder=folder_of(prefix, target.source_id),
        begin=Begin(target.run, target.source_id, slice_s),
        creates=target.options["create"],
    )
    return open_service(target, client, slice_s=slice_s)
