"""Single pictures, functions, and the score a sink may raise."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError, SinkBusy, SinkError, SinkFull
from pipeline.formats import jsonl
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.render.pictures import make_picture as drawn_picture
from pipeline.results import FrameResult
from pipeline.sinks import pictures
from pipeline.sinks.chosen import Choice, Chosen
from pipeline.stages import Sink
from pipeline.testing import ListSink

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]


def test_png_frames_are_the_annotated_pixels_under_their_index(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"frames:{tmp_path}/{{source}}/?format=png")
    sink.write(make_result(12), make_picture(12))
    assert [p.name for p in (tmp_path / "gate").glob("[!.]*")] == ["00000012.png"]
    pixels = cv2.imread(str(tmp_path / "gate" / "00000012.png"))
    assert np.array_equal(pixels, make_picture(12).annotated())


def test_jpeg_frames_are_close_and_a_lower_quality_is_smaller(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    noise = np.random.default_rng(1).integers(0, 40, (48, 64, 3), np.uint8)
    picture = make_picture(3, image=22 + noise)
    sizes = []
    for quality in (95, 30):
        sink = open_for_test(f"frames:{tmp_path}/{quality}?quality={quality}&annotated=0")
        sink.write(make_result(3), picture)
        path = tmp_path / str(quality) / "00000003.jpg"
        assert np.abs(cv2.imread(str(path)).astype(int) - picture.image).mean() < 12
        sizes.append(path.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_every_tenth_frame_means_indices_divisible_by_ten(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"frames:{tmp_path}/f?every=10")
    for i in range(7, 31):
        sink.write(make_result(i), make_picture(i))
    assert sink.flush() == {"path": f"{tmp_path}/f", "records": 3, "last": 30}
    assert sorted(p.name for p in (tmp_path / "f").glob("[!.]*")) == [
        *("00000010.jpg", "00000020.jpg", "00000030.jpg"),
    ]


def test_a_picture_that_cannot_be_encoded_is_an_error(
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures.cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    sink = open_for_test(f"frames:{tmp_path}")
    with pytest.raises(SinkError, match=r"00000001\.jpg: cannot encode a picture of shape"):
        sink.write(make_result(1), make_picture(1))


def test_a_full_disk_leaves_the_whole_pictures_and_no_half_one(
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = open_for_test(f"frames:{tmp_path}?format=png")
    sink.write(make_result(1), make_picture(1))

    def write_some(part: Path, _: Path) -> None:
        os.truncate(part, part.stat().st_size // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", write_some)
    with pytest.raises(SinkFull, match=r"00000002\.png: the disk is full"):
        sink.write(make_result(2), make_picture(2))
    assert [p.name for p in tmp_path.glob("[!.]*")] == ["00000001.png"]


def test_a_function_gets_every_result_with_its_picture(
    open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    seen: list[FrameResult] = []
    sink = open_for_test(seen.append)
    for i in range(3):
        sink.write(make_result(i), make_picture(i))
    assert [r.index for r in seen] == [0, 1, 2]
    assert seen[2].image is not None
    assert np.array_equal(seen[2].image, make_picture(2).image)
    assert sink.flush() == {"records": 3}


def test_a_function_that_raises_is_named(
    open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    def count_people(result: FrameResult) -> None:
        raise KeyError("person")

    with pytest.raises(SinkError) as error:
        open_for_test(count_people).write(make_result(5), make_picture(5))
    assert str(error.value).endswith("count_people failed at frame 5 of gate: KeyError('person')")
    assert isinstance(error.value.__cause__, KeyError)


def test_a_function_may_ask_to_be_called_again(
    open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    def busy(result: FrameResult) -> None:
        raise SinkBusy("later", retry_after_s=0.5)

    with pytest.raises(SinkBusy, match="later"):
        open_for_test(busy).write(make_result(5), make_picture(5))


def tracks(results: list[FrameResult]) -> list[list[int]]:
    found = [r.instances.track_ids for r in results]
    return [[] if ids is None else ids.tolist() for ids in found]


def scored(result: FrameResult, *scores: float) -> FrameResult:
    changed = replace(result.instances, scores=np.array(scores, np.float32))
    return replace(result, instances=changed)


def test_a_track_passes_from_when_it_reached_the_score(
    make_result: MakeResult, make_picture: MakePicture
) -> None:
    inner = ListSink()
    sink = Chosen(inner, Choice(min_score=0.7))
    for i, scores in enumerate([(0.69, 0.1), (0.7, 0.1), (0.2, 0.1), (0.2, 0.9)]):
        sink.write(scored(make_result(i), *scores), make_picture(i))
    assert tracks(inner.results) == [[], [7], [7], [7, 8]]
    assert inner.results[2].instances.scores.tolist() == [np.float32(0.2)]


def test_an_untracked_instance_passes_by_its_own_score(
    make_result: MakeResult, make_picture: MakePicture
) -> None:
    inner = ListSink()
    sink = Chosen(inner, Choice(min_score=0.5))
    for i, scores in enumerate([(0.5, 0.4), (0.4, 0.6), (0.1, 0.1)]):
        result = scored(make_result(i), *scores)
        untracked = replace(result.instances, track_ids=None)
        sink.write(replace(result, instances=untracked), make_picture(i))
    assert [r.instances.class_ids.tolist() for r in inner.results] == [[3], [1], []]


def test_which_tracks_passed_survives_a_crash(
    make_result: MakeResult, make_picture: MakePicture
) -> None:
    inner = ListSink()
    first = Chosen(inner, Choice(min_score=0.7))
    first.write(scored(make_result(0), 0.9, 0.1), make_picture(0))
    position = json.loads(json.dumps(first.flush()))
    second = Chosen(inner, Choice(min_score=0.7))
    second.resume(position)
    second.write(scored(make_result(1), 0.1, 0.1), make_picture(1))
    assert tracks(inner.results) == [[7], [7]]


def test_only_some_classes_pass_whatever_their_score(
    make_result: MakeResult, make_picture: MakePicture
) -> None:
    inner = ListSink()
    Chosen(inner, Choice(only=("person",))).write(make_result(0), make_picture(0))
    Chosen(inner, Choice(only=("bus",))).write(make_result(1), make_picture(1))
    assert [r.instances.class_ids.tolist() for r in inner.results] == [[1], []]


def test_the_first_frame_of_every_period_passes_also_after_a_crash(
    make_result: MakeResult, make_picture: MakePicture
) -> None:
    inner = ListSink(errors={0: SinkBusy("later", 0.0)})
    sink = Chosen(inner, Choice(every_s=0.2))  # five frames of 25 a second
    with pytest.raises(SinkBusy):
        sink.write(make_result(0), make_picture(0))
    inner.errors.clear()
    for i in range(7):
        sink.write(make_result(i), make_picture(i))
    again = Chosen(inner, Choice(every_s=0.2))
    again.resume(json.loads(json.dumps(sink.flush())))
    for i in range(7, 12):
        again.write(make_result(i), make_picture(i))
    again.write(make_result(12, epoch=1), make_picture(12))
    assert inner.indices == [0, 5, 10, 12]


def test_a_checkpoint_without_the_score_is_refused(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"jsonl:{tmp_path}/x")
    sink.write(make_result(0), make_picture(0))
    position = sink.flush()
    sink.close()
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(ConfigError, match="from a checkpoint without it; use the same options"):
        open_for_test(f"jsonl:{tmp_path}/x?min_score=0.7", resume=position)
    assert (tmp_path / "x").read_bytes() == before


def test_the_drawn_picture_shows_what_the_sink_is_given(
    make_result: MakeResult, make_picture: MakePicture
) -> None:
    drawn: list[Instances] = []

    class DrawingSink(ListSink):
        def write(self, result: FrameResult, picture: Picture) -> None:
            picture.annotated()

    picture = make_picture(2, drawn=drawn)
    Chosen(ListSink(), Choice(min_score=0.5)).write(scored(make_result(2), 0.9, 0.1), picture)
    assert drawn == []  # a sink that never asks
    sink = Chosen(DrawingSink(), Choice(min_score=0.5))
    sink.write(scored(make_result(2), 0.9, 0.1), picture)
    assert [found.track_ids.tolist() for found in drawn if found.track_ids is not None] == [[7]]
    picture.annotated()
    sink.write(scored(make_result(3), 0.9, 0.8), picture)
    assert len(drawn) == 2  # all pass: the picture all sinks share


def test_a_picture_for_a_sink_with_its_own_score_shows_only_what_reached_it(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    dense = np.zeros((2, 240, 320), bool)
    dense[0, 20:60, 20:60] = True
    dense[1, 180:220, 220:280] = True
    found = Instances(
        np.array([[20, 20, 60, 60], [220, 180, 280, 220]], np.float32),
        np.array([0.9, 0.45], np.float32),
        np.array([3, 1]),
        Masks.from_dense(dense),
        track_ids=np.array([7, 8]),
    )
    result = make_result(0, instances=found, size=(240, 320))
    plain = make_picture(0, size=(240, 320)).image
    shown = {}
    for query in ("", "&min_score=0.5", "&min_score=1"):
        sink = open_for_test(f"frames:{tmp_path}/x{query}?format=png{query}")
        sink.write(result, drawn_picture(plain, result.instances, result.labels))
        painted = (cv2.imread(f"{tmp_path}/x{query}/00000000.png") != plain).any(axis=2)
        shown[query] = (bool(painted[40, 40]), bool(painted[200, 250]))
    assert shown == {
        "": (True, True),
        "&min_score=0.5": (True, False),
        "&min_score=1": (False, False),
    }


@pytest.mark.parametrize(
    ("url", "setting", "kept"),
    [
        ("jsonl:{}/x", None, 2),
        ("jsonl:{}/x?min_score=0.5", None, 1),
        ("jsonl:{}/x", 0.5, 1),
        ("jsonl:{}/x?min_score=0.95", 0.5, 0),
        ("jsonl:{}/x?min_score=0.5", 0.95, 0),
    ],
)
def test_of_two_scores_the_higher_counts(
    url: str,
    setting: float | None,
    kept: int,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    sink = open_for_test(url.format(tmp_path), min_score=setting)
    sink.write(make_result(0), make_picture(0))  # scores 0.9 and 0.45
    sink.close()
    (result,) = jsonl.read_records(tmp_path / "x")
    assert len(result.instances) == kept
