import subprocess
import sys

import cv2
import numpy as np
import pytest

from pipeline.errors import SegmentFailed
from pipeline.models import load_segmenter
from pipeline.models.blob.segmenter import BlobSegmenter

COLOURS_BGR = {
    1: (0, 0, 255),
    2: (0, 255, 0),
    3: (255, 0, 0),
    4: (0, 255, 255),
    5: (255, 0, 255),
    6: (255, 255, 0),
}


def scene(height: int = 90, width: int = 160) -> np.ndarray:
    """Grey, with one rectangle a class side by side."""
    image = np.full((height, width, 3), 110, np.uint8)
    for class_id, colour in COLOURS_BGR.items():
        image[20:50, 5 + 25 * (class_id - 1) : 20 + 25 * (class_id - 1)] = colour
    return image


def test_every_colour_of_the_palette_is_its_own_class_with_an_exact_mask() -> None:
    (found,) = BlobSegmenter().segment([scene()])

    assert found.class_ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert found.boxes.tolist() == [[5 + 25 * i, 20, 20 + 25 * i, 50] for i in range(6)]
    for class_id, mask in zip(found.class_ids, found.masks.dense(), strict=True):
        expected = (scene() == COLOURS_BGR[int(class_id)]).all(axis=2)
        assert (mask == expected).all()


def test_parts_that_do_not_touch_are_two_instances_and_holes_stay_open() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[0:30, 0:30] = (0, 0, 255)
    image[10:20, 10:20] = 0
    image[40:60, 60:80] = (0, 0, 255)  # touches the bottom right corner

    (found,) = BlobSegmenter().segment([image])

    assert found.boxes.tolist() == [[0, 0, 30, 30], [60, 40, 80, 60]]
    assert found.masks.areas().tolist() == [30 * 30 - 10 * 10, 400]
    assert (found.masks.dense().any(axis=0) == (image[..., 2] > 0)).all()


def test_colours_survive_a_lossy_codec() -> None:
    (clean,) = BlobSegmenter().segment([scene(180, 320)])
    jpeg = cv2.imencode(".jpg", scene(180, 320), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    (lossy,) = BlobSegmenter().segment([cv2.imdecode(jpeg, cv2.IMREAD_COLOR)])

    assert lossy.class_ids.tolist() == clean.class_ids.tolist()
    assert np.abs(lossy.boxes - clean.boxes).max() <= 4


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((1, 1, 3), np.uint8), id="one-pixel"),
        pytest.param(np.full((40, 40, 3), 255, np.uint8), id="white"),
        pytest.param(np.full((40, 40, 3), 128, np.uint8), id="grey"),
    ],
)
def test_a_picture_without_pure_colours_gives_nothing(image: np.ndarray) -> None:
    (found,) = BlobSegmenter().segment([image])

    assert len(found) == 0
    assert found.masks.size == image.shape[:2]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((0, 5, 3), np.uint8), id="zero-size"),
        pytest.param(np.zeros((5, 5), np.uint8), id="grey"),
        pytest.param(np.zeros((5, 5, 3), np.float32), id="float"),
    ],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(SegmentFailed, match=r"bad_picture: expected uint8 of shape \(height"):
        BlobSegmenter().segment([image])


def test_read_only_and_non_contiguous_pictures_give_the_same() -> None:
    image = scene()
    image.flags.writeable = False
    wide = np.zeros((90, 320, 3), np.uint8)
    wide[:, ::2] = image

    first, second = BlobSegmenter().segment([image, wide[:, ::2]])

    assert len(first) == 6
    assert first.boxes.tolist() == second.boxes.tolist()
    assert first.masks.counts.tolist() == second.masks.counts.tolist()


def test_specks_below_the_smallest_area_are_left_out() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    image[0:7, 0:9] = (255, 0, 0)
    image[20:28, 20:28] = (255, 0, 0)

    (found,) = BlobSegmenter(min_area=64).segment([image])

    assert found.boxes.tolist() == [[20, 20, 28, 28]]


def test_the_table_and_the_blob_model_never_import_torch() -> None:
    code = (
        "import sys; from pipeline.models import load_segmenter, model_labels, names\n"
        "assert not {'cv2', 'torch', 'av', 'ray'} & set(sys.modules)\n"
        "model_labels('maskrcnn_resnet50_fpn'); load_segmenter('blob')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_table_loads_it_with_its_labels() -> None:
    assert load_segmenter("blob").info.labels[4] == "yellow"
