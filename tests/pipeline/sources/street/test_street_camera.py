"""The street as a camera sends it: in its own time, until it is asked to stop."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import ServiceSettings, parse, parse_as, read
from pipeline.plan.resolve import resolve
from pipeline.sources import open_source
from pipeline.sources.street.camera import StreetCamera
from pipeline.sources.street.synthetic import SyntheticSource
from pipeline.stages import Outcome, Status
from pipeline.testing import ManualClock, check_source

URL = "synthetic://street?seed=3&frames=2&size=160x96&fps=20"


def test_it_keeps_what_a_camera_promises() -> None:
    check_source(lambda: StreetCamera(URL, source_id="street"))


def test_it_sends_the_frames_of_the_street_and_has_no_end() -> None:
    clock = ManualClock()
    camera = StreetCamera(URL.replace("frames=2", "frames=1"), source_id="street", clock=clock)
    drawn = list(SyntheticSource(URL, source_id="street").frames())
    sent = []
    for frame in camera.frames({"epoch": 4, "index": 0}):
        sent.append(frame)
        clock.advance(0.05)
        if len(sent) == 3:
            camera.stop()
    assert [(one.epoch, one.index, round(one.pts_s, 3)) for one in sent] == [
        (4, 0, 0.0),
        (4, 1, 0.05),
        (4, 2, 0.1),
    ]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(sent, drawn, strict=False))
    assert camera.outcome == Outcome(Status.COMPLETE, decoded=3)


def test_one_that_was_held_up_makes_nothing_up() -> None:
    clock = ManualClock()
    frames = StreetCamera(URL, source_id="street", clock=clock).frames()
    next(frames)
    clock.advance(60.0)
    times = [frame.pts_s for frame in islice(frames, 2)]
    assert times == pytest.approx([59.0, 59.05])


def test_live_true_asks_for_it() -> None:
    assert isinstance(open_source(URL, source_id="street", live=True), StreetCamera)
    assert isinstance(open_source(URL, source_id="street", live=False), SyntheticSource)
    source = {"id": "street", "url": URL, "live": True}
    (stream,) = resolve(parse({"model": {"name": "blob"}, "sources": [source]})).streams
    assert stream.source.live


def test_what_is_shipped_for_a_service_is_a_camera_so_that_it_can_be_changed() -> None:
    shipped = Path(__file__).parents[4] / "configs" / "service.yaml"
    settings = parse_as(ServiceSettings, read(shipped))
    assert [stream.source.live for stream in resolve(settings).streams] == [True]
