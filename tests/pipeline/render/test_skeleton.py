"""Points of people are drawn, and lines between those that are seen."""

import numpy as np

from pipeline.instances import Instances
from pipeline.masks.rectangles import rectangles
from pipeline.render.overlay import annotate
from pipeline.render.palette import colour
from pipeline.render.skeleton import LIMBS, PERSON, draw

SIZE = (60, 80)
RED = (0, 0, 255)


def black() -> np.ndarray:
    return np.zeros((*SIZE, 3), np.uint8)


def points_at(**places: tuple[float, float]) -> np.ndarray:
    points = np.zeros((17, 3), np.float32)
    for name, place in places.items():
        points[PERSON.index(name.replace("_", " "))] = (*place, 0.9)
    return points


def test_a_limb_is_drawn_where_both_ends_are_seen() -> None:
    picture = black()
    draw(picture, points_at(left_hip=(20, 10), left_knee=(20, 40), nose=(60, 20)), RED, 1)
    assert picture[25, 20].tolist() == [0, 0, 255]
    assert picture[10, 20].tolist() == picture[40, 20].tolist() == [255, 255, 255]
    assert picture[20, 60].tolist() == [255, 255, 255]
    assert not picture[:, 30:50].any()


def test_points_that_are_not_seen_or_no_numbers_are_left_out() -> None:
    picture = black()
    points = points_at(left_hip=(20, 10), left_knee=(20, 40))
    points[PERSON.index("left knee"), 2] = 0.04
    points[0] = np.nan, 3, 1
    points[1] = 1e30, 3, 1
    draw(picture, points, RED, 1)
    assert not picture[20:].any()
    assert picture[10, 20].tolist() == [255, 255, 255]


def test_points_of_something_else_have_no_limbs() -> None:
    picture = black()
    draw(picture, np.array([[10, 10, 1], [60, 10, 1]], np.float32), RED, 1)
    assert not picture[:, 20:50].any()
    assert picture[10, 10].any()
    assert picture[10, 60].any()


def test_every_point_of_a_person_is_on_a_limb() -> None:
    assert len(LIMBS) == 16
    assert {end for limb in LIMBS for end in limb} == set(range(17))


def test_an_annotated_picture_shows_the_skeleton_in_the_colour_of_its_track() -> None:
    boxes = np.array([[5, 5, 40, 55]], np.float32)
    found = Instances(
        boxes, np.array([0.9], np.float32), np.array([1]), rectangles(boxes, SIZE),
        track_ids=np.array([7]),
        keypoints=points_at(left_hip=(20, 15), left_knee=(20, 45))[None],
    )  # fmt: skip
    picture = annotate(black(), found, {1: "person"})
    assert picture[30, 20].tolist() == list(colour(7))
    assert picture[45, 20].tolist() == [255, 255, 255]
