"""Drawing results: where pixels change, and where they may not."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.render.labels import Room, plain, tag, text_height
from pipeline.render.overlay import FILL, FILL_PREDICTED, annotate
from pipeline.render.palette import colour

SIZE = (240, 320)
GREY = 100
LABELS = {1: "person", 3: "car"}


def picture(size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    image = np.full((*size, 3), GREY, np.uint8)
    image.flags.writeable = False
    return image


def found(
    *boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE, tracked: bool = True
) -> Instances:
    """One filled box each, of class 1, with tracks 1, 2, ..."""
    n = len(boxes)
    masks = Masks.from_crops(
        size, [(x0, y0, np.ones((y1 - y0, x1 - x0), bool)) for x0, y0, x1, y1 in boxes]
    )
    return Instances(
        boxes=np.array(boxes, np.float32).reshape(n, 4),
        scores=np.linspace(0.9, 0.5, n).astype(np.float32),
        class_ids=np.ones(n, np.int64),
        masks=masks,
        track_ids=np.arange(1, n + 1) if tracked else None,
    )


def blend(paint: tuple[int, int, int], opacity: float) -> list[int]:
    return [round(GREY * (1 - opacity) + value * opacity) for value in paint]


def changed(drawn: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((drawn != GREY).any(axis=2))


def test_nothing_found_gives_an_equal_picture_that_may_be_written_to() -> None:
    drawn = annotate(picture(), Instances.empty(SIZE), LABELS)
    assert not changed(drawn).any()
    assert drawn.flags.writeable


def test_a_mask_is_filled_translucently_and_outlined_in_the_colour_of_its_track() -> None:
    drawn = annotate(picture(), found((100, 100, 200, 200)), LABELS)
    assert drawn[150, 150].tolist() == blend(colour(1), FILL)
    for y, x in [(100, 150), (199, 150), (150, 100), (150, 199)]:
        assert drawn[y, x].tolist() == list(colour(1))
    outside = changed(drawn)
    outside[100:200, 100:200] = False
    ys, xs = np.nonzero(outside)  # only the name tag, right above the box
    assert ys.min() >= 75
    assert ys.max() == 99
    assert xs.min() == 100


def test_holes_show_the_picture_and_their_rim_is_outlined() -> None:
    mask = np.ones((100, 100), bool)
    mask[40:60, 40:60] = False
    instances = replace(
        found((100, 100, 200, 200)), masks=Masks.from_crops(SIZE, [(100, 100, mask)])
    )
    drawn = annotate(picture(), instances, LABELS)
    assert (drawn[140:160, 140:160] == GREY).all()
    assert drawn[150, 139].tolist() == list(colour(1))


def test_untracked_instances_are_coloured_by_class() -> None:
    instances = found((20, 100, 60, 140), (100, 100, 140, 140), tracked=False)
    drawn = annotate(picture(), replace(instances, class_ids=np.array([3, 5])), LABELS)
    assert drawn[120, 40].tolist() == blend(colour(3), FILL)
    assert drawn[120, 120].tolist() == blend(colour(5), FILL)


def test_predicted_instances_are_paler_and_dashed() -> None:
    instances = replace(found((100, 100, 200, 200)), predicted=np.array([True]))
    drawn = annotate(picture(), instances, LABELS)
    assert drawn[150, 150].tolist() == blend(colour(1), FILL_PREDICTED)
    painted = (drawn[199, 100:200] == colour(1)).all(axis=1)
    assert 0.3 < painted.mean() < 0.7


def test_small_masks_are_drawn_over_large_ones() -> None:
    drawn = annotate(picture(), found((150, 100, 170, 120), (100, 60, 220, 200)), LABELS)
    assert drawn[100, 160].tolist() == list(colour(1))  # its outline, unmixed


def test_an_instance_without_a_mask_gets_its_box() -> None:
    instances = replace(
        found((100, 100, 200, 200)), masks=Masks.from_dense(np.zeros((1, *SIZE), bool))
    )
    drawn = annotate(picture(), instances, LABELS)
    assert drawn[199, 150].tolist() == list(colour(1))
    assert (drawn[150, 150] == GREY).all()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 1, 1), id="one pixel in the corner"),
        pytest.param((319, 239, 320, 240), id="one pixel in the other corner"),
        pytest.param((0, 0, 320, 240), id="whole picture"),
        pytest.param((0, 100, 320, 101), id="one row"),
        pytest.param((310, 0, 320, 240), id="right border"),
    ],
)
def test_masks_at_the_border_are_drawn_with_their_whole_tag(box: tuple[int, int, int, int]) -> None:
    drawn = annotate(picture(), found(box), LABELS)
    x0, y0, x1, y1 = box
    assert changed(drawn)[y0:y1, x0:x1].all()
    name = tag("person #1 0.90", text_height(SIZE), colour(1))
    rows, columns = (
        (np.lib.stride_tricks.sliding_window_view(drawn, name.shape) == name)
        .all(axis=(3, 4, 5))[..., 0]
        .nonzero()
    )
    assert len(rows) == len(columns) == 1


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((1, 1), id="one pixel"),
        pytest.param((12, 400), id="flat"),
        pytest.param((400, 12), id="thin"),
        pytest.param((32, 32), id="smaller than the tag"),
        pytest.param((2160, 3840), id="4K"),
    ],
)
def test_pictures_of_any_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    drawn = annotate(picture(size), found((0, 0, size[1], size[0]), size=size), LABELS)
    assert drawn.shape == (*size, 3)
    assert changed(drawn).all()


@pytest.mark.parametrize(
    ("size", "height"), [((120, 160), 9), ((1080, 1920), 19), ((2160, 3840), 39)]
)
def test_text_grows_with_the_picture_but_never_gets_too_small(
    size: tuple[int, int], height: int
) -> None:
    assert text_height(size) == height


def test_the_picture_itself_is_never_painted_on() -> None:
    image = picture()
    annotate(image, found((10, 10, 50, 50)), LABELS)
    assert (image == GREY).all()


def test_masks_of_another_picture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size \(10, 10\) on a picture of \(240, 320\)"):
        annotate(picture(), Instances.empty((10, 10)), LABELS)


def test_tags_of_neighbours_do_not_cover_each_other() -> None:
    room = Room((200, 300))
    places = [room.place((50, 100, 120, 150), (20, 80)) for _ in range(4)]
    assert places == [(50, 80), (50, 100), (50, 130), (50, 150)]
    assert room.place((50, 100, 120, 150), (20, 80)) == (50, 80)  # no room left: the first place
    assert room.place((280, 5, 300, 40), (20, 80)) == (220, 5)  # not above, and moved to the left


def test_names_the_font_cannot_write_are_made_plain() -> None:
    assert plain("Fußgänger, café, 車") == "Fu?ganger, cafe, ?"
