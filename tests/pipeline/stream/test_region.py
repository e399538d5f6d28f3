"""Where in the picture is looked, and which instances lie there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.runtime import Serving
from pipeline.stream import Stream
from pipeline.stream.region import PolygonRegion
from pipeline.testing import (
    ListSink,
    ScriptedSource,
    StubSegmenter,
    make_frame,
    make_frames,
    make_instances,
)

AWAY = [(100.0, 0.0), (200.0, 0.0), (200.0, 90.0)]
ALL = [(-1.0, -1.0), (99.0, -1.0), (99.0, 99.0), (-1.0, 99.0)]
LEFT = [(0.0, 0.0), (7.0, 0.0), (7.0, 11.0), (0.0, 11.0)]
RIGHT = [(8.0, 0.0), (15.0, 0.0), (15.0, 11.0), (8.0, 11.0)]


def test_only_inside_the_included_polygons_pixels_are_left() -> None:
    frame = make_frame(2)
    seen = PolygonRegion([LEFT], []).look(frame)
    assert np.array_equal(seen.image[:, :8], frame.image[:, :8])
    assert not seen.image[:, 8:].any()
    assert (seen.index, seen.pts_s) == (frame.index, frame.pts_s)


def test_overlapping_polygons_do_not_cancel_each_other_out() -> None:
    frame = make_frame(2)
    seen = PolygonRegion([LEFT, LEFT, RIGHT], []).look(frame)
    assert np.array_equal(seen.image, frame.image)


def test_without_included_polygons_the_frame_is_handed_on_as_it_is() -> None:
    frame = make_frame(2)
    assert PolygonRegion([], [LEFT]).look(frame) is frame


def test_instances_mostly_inside_an_ignored_polygon_are_left_out() -> None:
    found = make_instances(2)  # squares of 4 × 4 in the top left corner
    third = [(0.0, 0.0), (0.0, 3.0), (0.0, 3.0)]  # one column of four pixels
    assert len(PolygonRegion([], [LEFT]).keep(found)) == 0
    assert len(PolygonRegion([], [RIGHT]).keep(found)) == 2
    assert len(PolygonRegion([], [third]).keep(found)) == 2


def test_a_region_follows_the_size_of_the_pictures() -> None:
    region = PolygonRegion([LEFT], [LEFT])
    for size in ((12, 16), (24, 32)):
        assert region.look(make_frame(0, size=size)).size == size
        assert len(region.keep(make_instances(1, size=size))) == 0


SIZE = (12, 16)


def columns(*spans: tuple[int, int]) -> Instances:
    """One instance a span: the upper four rows from its first column to before its second."""
    dense = np.zeros((len(spans), *SIZE), bool)
    for mask, (first, behind) in zip(dense, spans, strict=True):
        mask[:4, first:behind] = True
    return Instances(
        boxes=np.array([(first, 0, behind, 4) for first, behind in spans], np.float32),
        scores=np.full(len(spans), 0.9, np.float32),
        class_ids=np.ones(len(spans), np.int64),
        masks=Masks.from_dense(dense),
    )


@pytest.mark.parametrize(
    ("span", "inside"),
    [
        pytest.param((0, 4), True, id="wholly"),
        pytest.param((4, 12), True, id="half"),
        pytest.param((5, 12), False, id="less than half"),
        pytest.param((7, 9), True, id="half, at the outline"),
        pytest.param((8, 12), False, id="beside it"),
        pytest.param((15, 16), False, id="far away"),
        pytest.param((3, 3), False, id="without a pixel"),
    ],
)
def test_an_instance_lies_inside_with_at_least_half_of_its_mask(
    span: tuple[int, int], inside: bool
) -> None:
    region = PolygonRegion([LEFT], [])
    assert len(region.inside(columns(span))) == inside
    assert len(region.keep(columns(span))) == inside


def test_included_polygons_count_together() -> None:
    halves = [[(0.0, 0.0), (3.0, 0.0), (3.0, 11.0), (0.0, 11.0)], RIGHT]
    assert len(PolygonRegion(halves, []).keep(columns((2, 10)))) == 1
    assert len(PolygonRegion(halves[:1], []).keep(columns((2, 10)))) == 0


def test_what_lies_in_an_ignored_polygon_does_not_lie_inside_for_being_included_too() -> None:
    assert len(PolygonRegion([LEFT], [LEFT]).keep(columns((0, 4)))) == 0


def test_the_rows_that_stay_keep_their_order() -> None:
    kept = PolygonRegion([LEFT], []).keep(columns((0, 2), (9, 12), (4, 6)))
    assert kept.boxes[:, 0].tolist() == [0.0, 4.0]


def test_polygons_outside_of_the_picture_are_told(caplog: pytest.LogCaptureFixture) -> None:
    region = PolygonRegion([[(100.0, 0.0), (200.0, 0.0), (200.0, 90.0)]], [])
    with caplog.at_level(logging.WARNING):
        region.look(make_frame(0))
        region.look(make_frame(1))
    assert [record.getMessage() for record in caplog.records] == [
        "include lies outside of pictures of 16x12: nothing will be found; its coordinates are "
        "pixels of the source"
    ]


@pytest.mark.parametrize(
    ("include", "ignore", "told"),
    [
        ([AWAY], [], "include lies outside of pictures of 16x12: nothing will be found; its c"),
        ([], [AWAY], "ignore lies outside of pictures of 16x12: it changes nothing; its coor"),
        ([], [ALL], "ignore covers all of pictures of 16x12: nothing will be found"),
        ([ALL], [], "include covers all of pictures of 16x12: it changes nothing"),
        ([LEFT, AWAY], [], "polygon 2 of include lies outside of pictures of 16x12: it changes n"),
        ([], [AWAY, LEFT], "polygon 1 of ignore lies outside of pictures of 16x12: it changes no"),
        ([LEFT], [LEFT], None),
    ],
)
def test_polygons_that_do_nothing_or_everything_are_told_once(
    include: list[Any], ignore: list[Any], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    region = PolygonRegion(include, ignore)
    for size in ((12, 16), (14, 18), (12, 16)):
        region.keep(Instances.empty(size))
    assert len(caplog.messages) == (told is not None)
    assert told is None or caplog.messages[0].startswith(told)


class Drifting:
    """A tracker that carries what it saw in the first frame four pixels to the right a frame."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.at = 0

    def update(self, instances: Instances | None, **_: Any) -> Instances:
        self.seen.append(-1 if instances is None else len(instances))
        self.at += 4
        carried = columns((self.at - 4, self.at))
        return carried.with_tracks(np.ones(1, np.int64))

    next_id = 2

    def skip_ids(self, first: int) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        self.at = 0

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, snapshot: Any) -> None:
        raise NotImplementedError


def beside(image: Any) -> Instances:
    """Found in every frame: one instance inside of LEFT and one in the black beside it."""
    return columns((0, 4), (10, 14))


@pytest.mark.parametrize("segment_every", [1, 4])
def test_neither_detections_nor_carried_instances_are_published_outside(
    make_stream: Callable[..., Stream], segment_every: int
) -> None:
    tracker, sink = Drifting(), ListSink()
    segmenter = Serving(lambda: StubSegmenter(beside), max_batch=4, max_wait_s=0.0)
    make_stream(
        ScriptedSource(make_frames(4)),
        [sink],
        segmenter=segmenter,
        tracker=tracker,
        region=PolygonRegion([LEFT], []),
        segment_every=segment_every,
    ).run()
    segmenter.close()
    assert tracker.seen == ([1] * 4 if segment_every == 1 else [1, -1, -1, -1])
    assert [len(result.instances) for result in sink.results] == [1, 1, 0, 0]


def test_without_a_tracker_detections_outside_are_not_published(
    make_stream: Callable[..., Stream],
) -> None:
    sink = ListSink()
    segmenter = Serving(lambda: StubSegmenter(beside), max_batch=4, max_wait_s=0.0)
    source = ScriptedSource(make_frames(2))
    make_stream(source, [sink], segmenter=segmenter, region=PolygonRegion([LEFT], [])).run()
    segmenter.close()
    assert [len(result.instances) for result in sink.results] == [1, 1]
