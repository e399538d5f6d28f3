"""The best view of a track in its events: how large, of which pixels, and where it is asked for."""

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import manner
from pipeline.sinks.thumbnail import thumbnail
from pipeline.stages import Sink
from pipeline.testing import make_end

IMAGE = np.full((100, 200, 3), 60, np.uint8)
IMAGE[20:60, 40:120] = (0, 0, 250)


def decoded(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize(
    ("box", "longest", "shape"),
    [
        pytest.param((40.0, 20.0, 120.0, 60.0), 1024, (56, 96), id="never larger than it is"),
        pytest.param((40.0, 20.0, 120.0, 60.0), 48, (28, 48), id="its longer side"),
        pytest.param((40.0, 20.0, 60.0, 80.0), 36, (36, 16), id="which may be the height"),
        pytest.param((0.0, 0.0, 200.0, 1.0), 20, (2, 20), id="flat"),
        pytest.param((199.0, 99.0, 200.0, 100.0), 20, (2, 2), id="one pixel and its margin"),
    ],
)
def test_it_is_a_jpeg_of_the_box_with_a_margin(
    box: tuple[float, float, float, float], longest: int, shape: tuple[int, int]
) -> None:
    assert decoded(thumbnail(IMAGE, box, longest=longest)).shape[:2] == shape


def test_it_shows_what_is_there() -> None:
    small = decoded(thumbnail(IMAGE, (40.0, 20.0, 120.0, 60.0), longest=48))
    assert abs(small[14, 24].astype(int) - (0, 0, 250)).max() < 12
    assert abs(small[1, 1].astype(int) - 60).max() < 12


def test_a_file_of_events_carries_pictures_where_it_is_asked_to(
    tmp_path: Path,
    open_for_test: Callable[..., Sink],
    make_result: Callable[..., FrameResult],
    make_picture: Callable[..., Picture],
) -> None:
    def best(options: str) -> list[dict[str, object]]:
        path = tmp_path / "e.jsonl"
        sink = open_for_test(f"events:{path}{options}", overwrite=True)
        sink.write(make_result(0), make_picture(0))
        sink.finish(make_end(source_id="gate"))
        sink.close()
        lines = map(json.loads, path.read_text().splitlines())
        return [line["best"] for line in lines if "best" in line]

    sizes = [decoded(b64decode(str(view["jpeg"]))).shape[:2] for view in best("?crop=7")]
    assert sizes == [(6, 6), (7, 7)] * 2  # boxes of four and six pixels, two new and two ends
    assert [view.get("jpeg") for view in best("")] == [None] * 4


def test_states_of_before_there_were_pictures_go_on() -> None:
    assert manner("events:a.jsonl?crop=0") == manner("events:a.jsonl")
    assert "crop" not in manner("events:a.jsonl")
    assert "crop=64" in manner("redis://queue?every=event&crop=64")
