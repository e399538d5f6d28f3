"""Sheets of many pictures."""

import numpy as np
import pytest

from pipeline.render.sheet import contact_sheet


def test_a_sheet_shows_all_pictures_in_reading_order() -> None:
    pictures = [np.full((90, 160, 3), value, np.uint8) for value in (50, 100, 150, 200, 250)]
    sheet = contact_sheet(pictures, 3, width=640)
    cell = (640 - 4 * 4) // 3
    assert sheet.shape == (2 * (round(cell * 90 / 160) + 4) + 4, 640, 3)
    centres = [(60, 4 + cell // 2 + k * (cell + 4)) for k in range(3)]
    assert [int(sheet[y, x, 0]) for y, x in centres] == [50, 100, 150]
    assert [int(sheet[y + 124, x, 0]) for y, x in centres[:2]] == [200, 250]
    assert sheet[184, centres[2][1]].tolist() == sheet[0, 0].tolist()  # the place left over


def test_pictures_of_other_shapes_are_fitted_and_captions_written() -> None:
    pictures = [np.full((90, 160, 3), 90, np.uint8), np.full((160, 90, 3), 200, np.uint8)]
    plain, captioned = (
        contact_sheet(pictures, 5, width=400, captions=captions)
        for captions in ((), ("one", "two"))
    )
    cell = (400 - 3 * 2) // 2
    assert plain.shape[1] == 400
    white = (plain[4, :, 0] == 200).sum()
    assert white == round(cell * 90 / 160 * 90 / 160)
    assert captioned.shape[0] > plain.shape[0]
    assert (captioned[plain.shape[0] - 2 :] > 128).any()


@pytest.mark.parametrize(("count", "columns"), [(0, 1), (1, 0), (80, 80)])
def test_impossible_sheets_are_refused(count: int, columns: int) -> None:
    with pytest.raises(ValueError, match=r"sheet|columns"):
        contact_sheet([np.zeros((9, 16, 3), np.uint8)] * count, columns, width=320)
