"""The part of `check_source` for cameras: counters, gaps, outages, going on to count."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from pipeline.frames import Frame
from pipeline.stages import Reporting, Source, Status
from pipeline.testing.promise import promised, within

SOME = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame, and the counters as they stood when it came."""

    frame: Frame
    decode_errors: int
    reconnects: int
    skipped: int


class Watch:
    """Reads a camera in a thread of its own, as a stream does, and may be waited for.

    Args:
        source: not read yet.
        start: where it goes on counting.
    """

    def __init__(self, source: Source, start: dict[str, int] | None = None) -> None:
        self.source = source
        self.seen: list[Seen] = []
        self._start = start
        self._came: queue.Queue[Seen | BaseException | None] = queue.Queue(SOME)
        self._left = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc: object) -> None:
        self._left.set()  # nobody takes its frames any more
        self.source.stop()

    def until(self, enough: Callable[[Seen], bool], patience_s: float, what: str) -> None:
        """Take frames until one is enough."""
        give_up_at_s = time.monotonic() + patience_s
        while True:
            try:
                came = self._came.get(timeout=give_up_at_s - time.monotonic())
            except (queue.Empty, ValueError):  # nothing came, or nothing that is enough
                raise AssertionError(f"{what}: not within {patience_s:g} s") from None
            if isinstance(came, BaseException):
                raise came
            if came is None:
                raise AssertionError(f"{what}: it ended by itself, {self.source.outcome}")
            self.seen.append(came)
            if enough(came):
                return

    def stop(self, within_s: float) -> None:
        """Tell it to end, twice, and wait until it has."""
        with within(0.5, "stop()"):
            self.source.stop()
            self.source.stop()
        for _ in range(100):
            try:
                came = self._came.get(timeout=within_s)
            except queue.Empty:
                raise AssertionError(f"stop() was not heard within {within_s:g} s") from None
            if isinstance(came, BaseException):
                raise came
            if came is None:
                return
            self.seen.append(came)
        raise AssertionError("a camera goes on after stop()")

    def _read(self) -> None:
        try:
            for frame in self.source.frames(self._start):
                self._put(_seen(self.source, frame))
                if self._left.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._put(error)
        self._put(None)

    def _put(self, came: Seen | BaseException | None) -> None:
        while not self._left.is_set():
            try:
                self._came.put(came, timeout=0.05)
            except queue.Full:
                continue
            return


def check_live(
    source: Source,
    make: Callable[[], Source],
    *,
    interrupt: Callable[[], object] | None,
    stops_within_s: float,
    returns_within_s: float,
) -> list[Frame]:
    """Watch a camera, break its link, and begin it once more where another life left off.

    Returns:
        The frames of the first life, for what holds for every source.
    """
    _fresh(source)
    with Watch(source) as watch:
        watch.until(lambda _: len(watch.seen) >= SOME, returns_within_s, "a first frame, and more")
        if interrupt is not None:
            _outlives(watch, interrupt, returns_within_s)
        watch.stop(stops_within_s)
    promised(
        source.outcome.status is Status.COMPLETE,
        f"a camera that was told to stop is complete, not {source.outcome.status}",
    )
    promised(source.live, "live is always the same")
    _counted(watch.seen)
    _goes_on_counting(make, watch.seen[-1].frame, stops_within_s, returns_within_s)
    return [seen.frame for seen in watch.seen]


def _outlives(watch: Watch, interrupt: Callable[[], object], returns_within_s: float) -> None:
    before = watch.seen[-1]
    interrupt()
    watch.until(
        lambda seen: seen.reconnects > before.reconnects,
        returns_within_s,
        "a frame after an outage, with `reconnects` one higher",
    )
    promised(
        watch.seen[-1].frame.epoch > before.frame.epoch,
        f"after an outage comes frame {watch.seen[-1].frame.index}, without a new epoch",
    )


def _fresh(source: Source) -> None:
    counters = (source.decode_errors, source.reconnects, sum(source.skipped.values()))
    promised(counters == (0, 0, 0), f"before the first frame the counters are {counters}, not 0")
    state = source.state if isinstance(source, Reporting) else None
    promised(state is None or len(state.split()) == 1, f"state is one word, not {state!r}")


def _seen(source: Source, frame: Frame) -> Seen:
    skipped = sum(source.skipped.values())
    return Seen(frame, source.decode_errors, source.reconnects, skipped)


def _counted(seen: list[Seen]) -> None:
    for before, after in pairwise(seen):
        for name in ("decode_errors", "reconnects", "skipped"):
            was, now = getattr(before, name), getattr(after, name)
            promised(now >= was, f"{name} fell from {was} to {now}; it never does")
        left_out = after.skipped - before.skipped
        promised(
            after.frame.index - before.frame.index > left_out,
            f"frame {after.frame.index} comes after frame {before.frame.index} and {left_out} "
            "that were skipped; the index counts them",
        )


def _goes_on_counting(
    make: Callable[[], Source], last: Frame, stops_within_s: float, returns_within_s: float
) -> None:
    start = {"epoch": last.epoch + 1, "index": last.index + 1000}
    with Watch(make(), start) as watch:
        watch.until(lambda _: True, returns_within_s, "a first frame in another life")
        watch.stop(stops_within_s)
    first = watch.seen[0].frame
    promised(
        first.index >= start["index"] and first.epoch >= start["epoch"],
        f"told to go on counting at {start}, it began with frame {first.index}, "
        f"epoch {first.epoch}",
    )
