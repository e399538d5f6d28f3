"""`EventLog`: results in, events out: which tracks began, which are still there, which ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.events.life import Life
from pipeline.events.sighting import Sighting
from pipeline.events.view import Show
from pipeline.formats import jsonl
from pipeline.picture import Picture
from pipeline.results import FrameResult

EVENT_SCHEMA = "maskstream.event/1"


@dataclass(frozen=True, slots=True)
class Told:
    """What one frame brought."""

    events: list[dict[str, Any]]
    """Records of `maskstream.event/1`: first the ends, then the rest, both by track id."""
    improved: list[Life]
    """Tracks of which this frame is the best view so far."""


class EventLog:
    """Follows the tracks of one stream; what it remembers is JSON and exact.

    A track ends when it has not been published for `gone_s`, with its epoch, or with the stream.
    One that comes back later, under the same id, begins anew.

    Args:
        update_s: seconds of source time from one event of a track to the next update; 0: none.
        gone_s: how long a track may be away.
        show: makes the picture of its best view that events carry; None: they carry none.
        masks: whether they carry the masks of its first and last frame.
    """

    def __init__(
        self, *, update_s: float, gone_s: float, show: Show | None = None, masks: bool = True
    ) -> None:
        self._update_s = update_s
        self._gone_s = gone_s
        self._show = show
        self._masks = masks
        self._lives: dict[int, Life] = {}
        self._head: dict[str, Any] = {}

    def see(self, result: FrameResult, picture: Picture) -> Told:
        """Take the next result.

        Raises:
            ValueError: its instances have no track ids.
        """
        found = result.instances
        if len(found) and found.track_ids is None:
            raise ValueError(f"frame {result.index} of {result.source_id!r} has no track ids")
        changed = bool(self._head) and self._head["epoch"] != result.epoch
        events = self.end("epoch") if changed else []
        self._head = jsonl.head(result)
        events += self._end_gone()
        tracks = [] if found.track_ids is None else found.track_ids.tolist()
        sightings = Sighting.all_of(result)
        improved = []
        for row in sorted(range(len(tracks)), key=tracks.__getitem__):
            life = self._lives.get(tracks[row])
            began = life is None
            if life is None:
                life = Life(tracks[row], sightings[row])
                self._lives[life.track] = life
            class_id = int(found.class_ids[row])
            predicted = found.predicted is not None and bool(found.predicted[row])
            life.see(
                sightings[row],
                class_id,
                result.labels.get(class_id, str(class_id)),
                predicted=predicted,
            )
            if not predicted and life.look(picture.image, self._show):
                improved.append(life)
            if began or self._is_due(life):
                events.append(self._tell("new" if began else "update", life))
        return Told(events, improved)

    def end(self, reason: str) -> list[dict[str, Any]]:
        """All tracks that are there end: "epoch" or "stream"."""
        lives = [self._lives.pop(track) for track in sorted(self._lives)]
        return [self._tell("end", life, reason) for life in lives]

    def _end_gone(self) -> list[dict[str, Any]]:
        now_s = self._head["pts_s"]
        lives = [self._lives[track] for track in sorted(self._lives)]
        gone = [life for life in lives if now_s - life.last.pts_s > self._gone_s]
        return [self._tell("end", self._lives.pop(life.track), "gone") for life in gone]

    def _is_due(self, life: Life) -> bool:
        return bool(self._update_s) and life.last.pts_s - life.told_s >= self._update_s

    def _tell(self, kind: str, life: Life, reason: str | None = None) -> dict[str, Any]:
        head = {key: value for key, value in self._head.items() if key != "schema"}
        life.told_s = head["pts_s"]
        id_ = f"{head['run']}:{head['source']}:{life.track}:{life.first.frame}"
        event = {
            "schema": EVENT_SCHEMA,
            "event": kind,
            "id": id_,
            **head,
            **life.record(masks=self._masks),
        }
        return event if reason is None else {**event, "reason": reason}

    def state(self) -> dict[str, Any]:
        """What `restore` goes on from."""
        return {"head": self._head, "lives": [life.state() for life in self._lives.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state` was taken."""
        self._head = dict(state["head"])
        lives = [Life.of(life) for life in state["lives"]]
        self._lives = {life.track: life for life in lives}

    def adopt(self, event: Mapping[str, Any]) -> None:
        """Know what was told by this event, too, of a process that died afterwards."""
        self._head = {key: event[key] for key in jsonl.HEAD if key in event}
        if event["event"] == "end":
            self._lives.pop(event["track"], None)
        else:
            self._lives[event["track"]] = Life.of({**event, "told_s": event["pts_s"]})
