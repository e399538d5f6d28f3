"""`Nodes`: the machines of a cluster, which of them answer, and which are given up.

Ray takes a minute to notice a machine that is frozen or cut off. So a scout of ours is on each that
has workers of the run, and is asked all the time: one that does not answer for `node_timeout_s` has
its machine given up, and with it everything that was started there. One whose connection breaks is
asked once more and has less time: a machine that is gone breaks it, so does a network for a moment.
If it comes back it is a new stay: what was started before is not taken up again.

To Ray a scout is work, and an autoscaler takes away only what has none. So where nobody works for a
while the scout goes, and comes again before a worker does.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, in_one_line
from workers.lease import Lease, lasting
from workers.placement import Node
from workers.scout import Scouted, differing
from workers.slots.handle import Asked, Remote
from workers.vital import NEXT_STEP

log = logging.getLogger(__name__)

LIST_EVERY_S = 0.5
LOOK_EVERY_S = 0.1
BROKEN_FOR_S = 2.0
"""A connection, until its machine is given up."""
LATE_LOOKS = 3
"""An answer may have come while this process stood still, and be heard of a moment later."""
COMES_WITHIN_S = 60.0
"""A process that has not come up by then never will."""
AGAIN_AFTER_S = 2.0
"""Before another scout is sent to a node whose last one was lost."""
REST_AFTER_S = 10.0
"""Without a worker; longer than one that died needs to be replaced."""
GOES_AFTER_S = 1.0
"""The same of a machine that is drained: it takes no worker more."""


SILENT_FOR_S = 20.0
"""Ray's control store; those who look after it may be starting it again."""


class StartScout(Protocol):
    """Starts a scout."""

    def __call__(self, node_id: str, *, line: str) -> Remote:
        """On this node; `line` is the name of the lease it gives."""


@dataclass(eq=False)
class Stay:
    """A node from when it answered first until it is given up; workers are started in one."""

    node: Node
    line: str | None = None
    """The lease that its workers hold; None: they need none."""
    gone: str | None = None
    """Why it was given up, as it is said of a worker."""
    awake: bool = True
    """Whether its scout is there."""
    used_at_s: float = 0.0
    """When it last had a worker, or was to have one."""


@dataclass(eq=False, slots=True)
class _Watched:
    """A node that is not the driver's."""

    listed: Node
    scout: Remote | None = None
    asked: Asked | None = None
    late: int = 0
    """Looks at which the answer was overdue."""
    broken: bool = False
    """The last question was lost."""
    ask_at_s: float = 0.0
    line: str = ""
    stay: Stay | None = None
    left_out: bool = False


@dataclass(eq=False)
class Nodes:
    """All nodes, looked at from a thread of its own.

    Args:
        here: the driver's, which is there as long as this process.
        listed: asks Ray which nodes are alive, this one included; may take its time.
        start_scout: starts one.
        name: of this run; names the leases.
        versions: of this process.
        tokens: the file that must be seen in each shared folder, by the folder.
        used: the ids of those that have workers of the run now.
        node_timeout_s: see the module.
        clock: monotonic seconds.
    """

    here: Node
    listed: Callable[[], Sequence[Node]]
    start_scout: StartScout
    name: str
    versions: Mapping[str, str]
    tokens: Mapping[str, str]
    used: Callable[[], Collection[str]]
    node_timeout_s: float
    clock: Clock = time.monotonic
    going: frozenset[str] = frozenset()
    """The ids of those that are drained."""
    _own: Stay = field(init=False)
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _listing: Sequence[Node] | None = None
    _stays: tuple[Stay, ...] = ()
    _noted: bool = False
    _numbered: int = 0
    _forgotten: str | None = None
    _leases: Sequence[Lease] = ()
    """Of the workers on the driver's node, which outlive it where Ray's head is gone too."""
    _unheard: int = 0
    """Looks since Ray's control store has answered; as many as none while this process stands."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Nobody is told that a scout is there as it goes."""
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._own = Stay(self.here)
        self._stays = (self._own,)

    def begin(self) -> None:
        """Start looking; waits until each node there is now has answered or has been left out."""
        self._own.line = line = f"maskstream-{self.name}-0"
        forever = math.inf  # until this process ends
        self._leases = [Lease(name, lasts_s=forever) for name in (line, lasting(line))]
        for run in (self._list, self._look):
            thread = threading.Thread(target=run, name="nodes", daemon=True)
            self._threads.append(thread)
            thread.start()
        until_s = self.clock() + COMES_WITHIN_S
        while not self.settled and self.fault() is None and self.clock() < until_s:
            self._over.wait(LOOK_EVERY_S)

    @property
    def settled(self) -> bool:
        """Whether something is known of every node."""
        watched = list(self._watched.values())
        return self._noted and all(w.stay or w.left_out or self._goes(w) for w in watched)

    @property
    def stays(self) -> tuple[Stay, ...]:
        """Where workers may be started, see `ready`; the driver's node is the first."""
        return self._stays

    def ready(self, stay: Stay) -> bool:
        """Whether a worker may be started there now; if not, its scout is sent for.

        Not where a question was lost: those of its workers were lost at the same moment.
        """
        watched = self._watched.get(stay.node.node_id)
        asked = None if watched is None else watched.asked
        with self._lock:
            stay.used_at_s = self.clock()
            return stay.awake and (asked is None or not asked.failed)

    def fault(self) -> str | None:
        """Why nothing can be started or ended any more, one line for the user; or None."""
        if self._unheard * LOOK_EVERY_S > SILENT_FOR_S:
            return f"the control store (GCS) of the Ray at --address is gone; {NEXT_STEP}"
        return self._forgotten

    def close(self) -> None:
        """Look no more; every scout goes."""
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=2.0)
        for lease in self._leases:
            lease.close()
        for watched in self._watched.values():
            if watched.scout is not None:
                watched.scout.kill()

    def ask(self) -> None:
        """Ask Ray once which nodes it takes for alive; may take its time."""
        try:
            self._listing = self.listed()
            self._unheard = 0
        except MaskstreamError as error:
            self._forgotten = str(error)
        except Exception as error:  # noqa: BLE001 - its control store may be starting again
            log.debug("no list of nodes: %s", in_one_line(error))

    def note(self, listing: Sequence[Node]) -> None:
        """Take note of which nodes Ray takes for alive."""
        others = {node.node_id: node for node in listing if node.node_id != self.here.node_id}
        self.going = frozenset(node_id for node_id, node in others.items() if node.going)
        for node_id in [one for one in self._watched if one not in others]:
            watched = self._watched.pop(node_id)
            self._give_up(watched, "has left the cluster")
        for node_id, node in others.items():
            if node_id not in self._watched:
                self._watched[node_id] = _Watched(node)
        self._noted = True

    def step(self) -> None:
        """Look once at every node."""
        self._unheard += 1
        now, used = self.clock(), self.used()
        watched_now = list(self._watched.items())
        for node_id, watched in watched_now:
            if watched.stay is not None and node_id in used:
                watched.stay.used_at_s = now
            if watched.scout is None:
                if now >= watched.ask_at_s and self._needs_scout(watched, now):
                    self._send_scout(watched, now)
            elif watched.asked is None:
                if not self._rests(watched, now) and now >= watched.ask_at_s:
                    watched.asked = Asked(watched.scout.call("asked"), now, self.node_timeout_s)
            elif watched.asked.future.done():
                self._take(watched, watched.asked, now)
            elif watched.asked.overdue(now):
                watched.late += 1
                if watched.late > LATE_LOOKS:
                    self._give_up(watched, f"has not answered for {watched.asked.patience_s:.0f} s")
        stays = [w.stay for _, w in watched_now if w.stay and not self._doubted(w, now)]
        self._stays = (self._own, *stays)

    def _doubted(self, watched: _Watched, now: float) -> bool:
        """Whether it may be gone, or frozen as its scout should be back: workers go elsewhere."""
        stay, asked = watched.stay, watched.asked
        if stay is None or stay.awake or asked is None:
            return watched.broken
        return now - asked.at_s > self.node_timeout_s

    def _goes(self, watched: _Watched) -> bool:
        return watched.listed.node_id in self.going

    def _needs_scout(self, watched: _Watched, now: float) -> bool:
        if self._goes(watched):
            return False
        return watched.stay is None or now - watched.stay.used_at_s <= REST_AFTER_S

    def _rests(self, watched: _Watched, now: float) -> bool:
        """Take the scout away where there is nothing to look after."""
        if (stay := watched.stay) is None or watched.scout is None:
            return False
        with self._lock:
            patience_s = GOES_AFTER_S if self._goes(watched) else REST_AFTER_S
            if now - stay.used_at_s <= patience_s:
                return False
            stay.awake = False
        watched.scout.kill()
        watched.scout, watched.ask_at_s = None, now
        log.debug("%s rests", stay.node.name)
        return True

    def _send_scout(self, watched: _Watched, now: float) -> None:
        self._numbered += 1
        watched.line = f"maskstream-{self.name}-{self._numbered}"
        watched.scout = self.start_scout(watched.listed.node_id, line=watched.line)
        watched.asked = Asked(watched.scout.call("look", self.tokens), now, COMES_WITHIN_S)

    def _take(self, watched: _Watched, asked: Asked, now: float) -> None:
        watched.asked, watched.ask_at_s, watched.late = None, now, 0
        scout, name = watched.scout, watched.listed.name
        if (error := asked.future.exception()) is not None and scout is not None:
            if watched.stay is not None and watched.stay.awake and not watched.broken:
                watched.broken = True
                watched.asked = Asked(scout.call("asked"), now, BROKEN_FOR_S)
                return
            known = watched.stay is not None or watched.left_out
            why = scout.reason(error)
            self._give_up(watched, why)
            if not known:
                watched.left_out = True
                log.warning("%s is left out: its scout %s", name, why)
            return
        watched.broken = False
        if isinstance(seen := asked.future.result(), Scouted):
            self._welcome(watched, seen)

    def _welcome(self, watched: _Watched, seen: Scouted) -> None:
        node = watched.listed
        if (told := differing(self.versions, seen.versions)) is not None:
            if not watched.left_out:
                log.warning("%s is left out: it has %s; install the same there", node.name, told)
            watched.left_out = True
            return
        if seen.strange:
            log.warning(
                "%s does not see %s of cluster.shared_paths as it is here: no stream runs there",
                node.name,
                ", ".join(seen.strange),
            )
        known = Node(
            node.node_id,
            f"{seen.host} ({node.name})",
            cores=seen.cores,
            gpus=node.gpus,
            store_bytes=node.store_bytes,
            labels=node.labels,
            resources=node.resources,
            shares=not seen.strange,
        )
        watched.left_out = False
        if (stay := watched.stay) is None:
            watched.stay = Stay(known, watched.line, used_at_s=self.clock())
            log.info("%s has joined", known.name)
            return
        with self._lock:
            stay.node, stay.line, stay.awake = known, watched.line, True

    def _give_up(self, watched: _Watched, why: str) -> None:
        if watched.stay is not None:
            if watched.stay.awake:
                log.warning("%s %s; it is given up", watched.stay.node.name, why)
            else:
                log.info("%s %s", watched.stay.node.name, why)
            watched.stay.gone = f"was on {watched.stay.node.name}, which {why}"
        if watched.scout is not None:
            watched.scout.kill()
        watched.scout = watched.stay = watched.asked = None
        watched.late, watched.broken = 0, False
        watched.ask_at_s = self.clock() + AGAIN_AFTER_S

    def _list(self) -> None:
        while not self._over.is_set():
            self.ask()
            self._over.wait(LIST_EVERY_S)

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            if self._listing is not None:
                self.note(self._listing)
            try:
                self.step()
            except MaskstreamError as error:
                self._forgotten = str(error)
