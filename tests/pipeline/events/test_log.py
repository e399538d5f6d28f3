"""What is told of tracks: when they begin, go on and end, and what is known of them then."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from pipeline.events.log import EventLog
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.results import FrameResult

SIZE = (60, 80)
LABELS = {1: "person", 3: "car"}
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
PICTURE = Picture(IMAGE, Instances.empty(SIZE), LABELS, lambda image, _, __: image.copy())
SCHEMA = Path(__file__).parents[3] / "docs" / "maskstream.event.schema.json"


def result(
    index: int,
    *tracks: tuple[int, int],
    class_id: int = 3,
    score: float = 0.5,
    epoch: int = 0,
    predicted: bool = False,
    fps: int = 1,
) -> FrameResult:
    """A frame with squares of ten pixels, given as (track, x), at the height 20."""
    dense = np.zeros((len(tracks), *SIZE), bool)
    boxes = np.zeros((len(tracks), 4), np.float32)
    for row, (_, x) in enumerate(tracks):
        dense[row, 20:30, x : x + 10] = True
        boxes[row] = x, 20, x + 10, 30
    n = len(tracks)
    instances = Instances(
        boxes,
        np.full(n, score, np.float32),
        np.full(n, class_id),
        Masks.from_dense(dense),
        track_ids=np.array([track for track, _ in tracks], np.int64),
        predicted=np.full(n, predicted),
    )
    return FrameResult(
        run="r",
        source_id="gate",
        epoch=epoch,
        index=index,
        pts_s=index / fps,
        captured_at_s=None,
        clock=None,
        size=SIZE,
        model="blob",
        instances=instances,
        labels=LABELS,
    )


def told(log: EventLog, *results: FrameResult) -> list[tuple[str, int, int]]:
    """Kind, track and frame of every event."""
    events = [event for r in results for event in log.see(r, PICTURE).events]
    return [(event["event"], event["track"], event["frame"]) for event in events]


def log_of(update_s: float = 0.0, gone_s: float = 2.0) -> EventLog:
    return EventLog(update_s=update_s, gone_s=gone_s)


def test_a_track_begins_once_and_ends_when_it_was_away_for_longer_than_it_may() -> None:
    assert told(
        log_of(),
        *(result(0, (7, 10)), result(1, (7, 12), (8, 40)), result(2, (8, 40)), result(3, (8, 40))),
        *(result(4, (8, 40)), result(5)),
    ) == [("new", 7, 0), ("new", 8, 1), ("end", 7, 4)]


def test_one_that_comes_back_in_time_goes_on_and_one_that_comes_back_too_late_begins_anew() -> None:
    log = log_of()
    assert told(log, result(0, (7, 10)), result(2, (7, 10))) == [("new", 7, 0)]
    assert told(log, result(5, (7, 10))) == [("end", 7, 5), ("new", 7, 5)]


def test_updates_come_in_the_period_that_was_asked_for() -> None:
    frames = [result(i, (7, 10)) for i in range(8)]
    assert told(log_of(update_s=3.0), *frames) == [
        ("new", 7, 0),
        ("update", 7, 3),
        ("update", 7, 6),
    ]
    assert told(log_of(update_s=0.0), *frames) == [("new", 7, 0)]


def test_a_new_epoch_ends_all_tracks_at_the_last_frame_of_the_old_one() -> None:
    log = log_of()
    assert told(log, result(3, (7, 10), (8, 40))) == [("new", 7, 3), ("new", 8, 3)]
    events = log.see(result(4, (9, 10), epoch=1), PICTURE).events
    assert [(e["event"], e["track"], e["epoch"], e["frame"], e.get("reason")) for e in events] == [
        ("end", 7, 0, 3, "epoch"),
        ("end", 8, 0, 3, "epoch"),
        ("new", 9, 1, 4, None),
    ]


def test_the_end_of_the_stream_is_the_end_of_all_that_are_there() -> None:
    log = log_of()
    told(log, result(0, (8, 40)), result(1, (7, 10)))
    ends = log.end("stream")
    assert [(e["track"], e["frame"], e["reason"]) for e in ends] == [
        (7, 1, "stream"),
        (8, 1, "stream"),
    ]
    assert log.end("stream") == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_an_end_tells_the_whole_life() -> None:
    log = log_of()
    told(
        log,
        *(result(2, (7, 10), score=0.5), result(3, (7, 12), score=0.75, class_id=1)),
        *(result(4, (7, 14), predicted=True), result(5, (7, 16), score=0.25)),
    )
    (event,) = log.end("stream")
    first, last = event.pop("first"), event.pop("last")
    best = event.pop("best")
    assert event == {
        "schema": "maskstream.event/1",
        "event": "end",
        "id": "r:gate:7:2",
        "run": "r",
        "source": "gate",
        "epoch": 0,
        "frame": 5,
        "pts_s": 5.0,
        "captured_at": None,
        "width": 80,
        "height": 60,
        "model": "blob",
        "track": 7,
        "label": "car",
        "class_id": 3,
        "score": 0.75,
        "votes": [
            {"label": "car", "class_id": 3, "frames": 3},
            {"label": "person", "class_id": 1, "frames": 1},
        ],
        "frames": 4,
        "predicted": 1,
        "duration_s": 3.0,
        "path": [[15.0, 25.0, 2.0], [17.0, 25.0, 3.0], [19.0, 25.0, 4.0], [21.0, 25.0, 5.0]],
        "reason": "stream",
    }
    assert (first["frame"], first["box"], first["area"]) == (2, [10.0, 20.0, 20.0, 30.0], 100)
    assert (last["frame"], last["score"], last["pts_s"]) == (5, 0.25, 5.0)
    pixels = coco.decode(last["mask"])
    assert pixels[20:30, 16:26].all()
    assert pixels.sum() == 100
    assert (best["frame"], best["cut"]) == (2, False)


def test_a_frame_a_track_was_only_carried_into_is_never_its_best() -> None:
    log = log_of()
    seen = log.see(result(0, (7, 10), predicted=True), PICTURE)
    assert seen.improved == []
    assert seen.events[0]["best"] is None
    assert [life.track for life in log.see(result(1, (7, 10)), PICTURE).improved] == [7]


@pytest.mark.parametrize(("frames", "points", "step"), [(64, 64, 1), (65, 33, 2), (1000, 63, 16)])
def test_a_path_has_few_points_evenly_over_all_frames(frames: int, points: int, step: int) -> None:
    log = log_of()
    told(log, *(result(i, (7, i % 70)) for i in range(frames)))
    (event,) = log.end("stream")
    assert [p[2] for p in event["path"]] == [float(step * i) for i in range(points)]


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_what_is_remembered_goes_through_json_and_on_exactly(cut: int) -> None:
    rng = np.random.default_rng(1)
    frames = [
        result(
            i,
            *((t, int(rng.integers(0, 70))) for t in range(1, 9) if rng.random() < 0.4),
            class_id=int(rng.choice([1, 3])),
            score=float(rng.random()),
            epoch=i // 15,
            predicted=bool(rng.random() < 0.3),
            fps=3,
        )
        for i in range(40)
    ]
    whole = log_of(update_s=1.0)
    expected = [whole.see(frame, PICTURE).events for frame in frames] + [whole.end("stream")]
    first, second = log_of(update_s=1.0), log_of(update_s=1.0)
    got = [first.see(frame, PICTURE).events for frame in frames[:cut]]
    second.restore(json.loads(json.dumps(first.state())))
    got += [second.see(frame, PICTURE).events for frame in frames[cut:]] + [second.end("stream")]
    assert got == expected


def test_what_an_event_told_is_enough_to_end_the_track_it_is_of() -> None:
    before, after = log_of(), log_of()
    events: list[dict[str, Any]] = []
    for i in range(6):
        events += before.see(result(i, (7, 10), *([(8, 40)] if i == 0 else [])), PICTURE).events
    assert [(e["event"], e["track"]) for e in events] == [("new", 7), ("new", 8), ("end", 8)]
    for event in events:
        after.adopt(json.loads(json.dumps(event)))
    (end,) = after.see(result(9, epoch=1), PICTURE).events
    assert (end["track"], end["frame"], end["frames"], end["reason"]) == (7, 3, 1, "epoch")


def test_every_event_is_as_its_schema_says() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    log = log_of(update_s=1.0)
    events = [e for i in range(5) for e in log.see(result(i, (7, 10)), PICTURE).events]
    events += log.end("stream")
    assert [e["event"] for e in events] == ["new", *["update"] * 4, "end"]
    for event in events:
        validator.validate(event)
    with pytest.raises(jsonschema.ValidationError, match="'reason' is a required property"):
        validator.validate({k: v for k, v in events[-1].items() if k != "reason"})


def test_instances_without_track_ids_are_refused() -> None:
    bare = result(0, (7, 10))
    object.__setattr__(bare.instances, "track_ids", None)
    with pytest.raises(ValueError, match="frame 0 of 'gate' has no track ids"):
        log_of().see(bare, PICTURE)


def test_each_event_carries_the_picture_of_the_best_view_so_far() -> None:
    shown: list[tuple[float, ...]] = []

    def show(image: NDArray[np.uint8], box: tuple[float, ...]) -> bytes:
        assert np.array_equal(image, IMAGE)
        shown.append(box)
        return b"picture %d" % len(shown)

    log = EventLog(update_s=1.0, gone_s=2.0, show=show)
    frames = result(0, (7, 70)), result(1, (7, 40)), result(2, (7, 40), (8, 10))
    events = [event for frame in frames for event in log.see(frame, PICTURE).events]
    again = EventLog(update_s=1.0, gone_s=2.0, show=show)
    again.restore(json.loads(json.dumps(log.state())))
    ends = log.end("stream")
    assert again.end("stream") == ends
    pictures = [(e["event"], e["track"], b64decode(e["best"]["jpeg"])) for e in (*events, *ends)]
    assert pictures == [
        ("new", 7, b"picture 1"),  # cut off by the edge
        ("update", 7, b"picture 2"),
        ("update", 7, b"picture 2"),  # not better by a tenth
        ("new", 8, b"picture 3"),
        ("end", 7, b"picture 2"),
        ("end", 8, b"picture 3"),
    ]
    assert shown == [(70.0, 20.0, 80.0, 30.0), (40.0, 20.0, 50.0, 30.0), (10.0, 20.0, 20.0, 30.0)]
    for event in (*events, *ends):
        jsonschema.validate(event, json.loads(SCHEMA.read_text()))


def test_what_was_only_carried_has_no_picture() -> None:
    log = EventLog(update_s=0.0, gone_s=2.0, show=lambda *_: b"")
    (event,) = log.see(result(0, (7, 40), predicted=True), PICTURE).events
    assert event["best"] is None
