"""`Frame` at its border."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.frames import Frame


def frame(image: NDArray[np.uint8]) -> Frame:
    return Frame(source_id="gate", epoch=0, index=0, pts_s=0.0, image=image)


@pytest.mark.parametrize(
    ("image", "got"),
    [
        pytest.param(np.zeros((4, 6), np.uint8), r"uint8 of shape \(4, 6\)", id="grey"),
        pytest.param(np.zeros((3, 4, 6), np.uint8), r"\(3, 4, 6\)", id="channels first"),
        pytest.param(np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\)", id="alpha"),
        pytest.param(np.zeros((4, 6, 3), np.float32), "got float32", id="float"),
    ],
)
def test_a_frame_refuses_anything_but_uint8_hwc(image: NDArray[np.uint8], got: str) -> None:
    with pytest.raises(ValueError, match=f"{got}.* from 'gate'"):
        frame(image)


def test_a_frame_knows_its_size_and_cannot_be_painted() -> None:
    made = frame(np.zeros((4, 6, 3), np.uint8))
    assert made.size == (4, 6)
    with pytest.raises(ValueError, match="read-only"):
        made.image[0, 0, 0] = 1
    assert made.captured_at_s is None
