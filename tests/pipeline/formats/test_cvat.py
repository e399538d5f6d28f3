"""CVAT's XML as CVAT and people write it: read, or refused in one line."""

from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.formats import cvat
from pipeline.formats.exchange import Assumed

CVAT = (
    "<annotations><meta><task><labels><label><name>car</name></label></labels>"
    "<original_size><width>6</width><height>4</height></original_size></task></meta>{}</annotations>"
)
MASK = '<image id="0" name="a.png" width="6" height="4"><mask label="{}" {}/></image>'
BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no element found"),
        (BOMB + CVAT.format(""), "declares a document type"),
        ("<a>" * 40, "nested deeper than 32"),
        ("<a></a>", "no element <annotations>"),
        (CVAT.format("<x>"), "mismatched tag"),
        (CVAT.format(MASK.format("cat", "")), "label 'cat' is not declared"),
        (CVAT.format(MASK.format("car", 'rle="1"')), "'left' is missing"),
        (
            CVAT.format(MASK.format("car", 'rle="9" left="5" top="0" width="3" height="3"')),
            "a mask at 5, 0 of 3 x 3 leaves its picture",
        ),
        (
            CVAT.format(MASK.format("car", 'rle="1,99" left="0" top="0" width="3" height="3"')),
            "do not fill its 3 x 3 pixels",
        ),
        (
            CVAT.format('<image id="0" width="99999999" height="99999999"/>'),
            "a picture of 99999999",
        ),
    ],
)
def test_xml_that_is_wrong_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"a\.xml: not CVAT's XML 1\.1: ") as error:
        list(cvat.read(path, Assumed("a", 10.0)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cvat_video_is_read_track_by_track_hidden_shapes_left_out(tmp_path: Path) -> None:
    shape = '<mask frame="{}" outside="{}" rle="0,4,1,4" left="1" top="0" width="3" height="3"/>'
    track = f'<track id="5" label="car">{shape.format(13, 0)}{shape.format(16, 1)}</track>'
    other = '<track id="6" label="car"><polygon frame="10" points="0,0;3,0;3,4;0,4"/></track>'
    (tmp_path / "v.xml").write_text(CVAT.format(track + other))
    first, second = cvat.read(tmp_path / "v.xml", Assumed("v", 10.0))
    assert (first.index, second.index, second.pts_s) == (10, 13, 1.3)
    assert first.instances.masks.areas().tolist() == [12]
    ring = [[0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0] * 6]
    assert second.instances.masks.dense()[0].tolist() == ring
    assert second.instances.track_ids is not None
    assert second.instances.track_ids.tolist() == [5]


def test_files_cvat_itself_wrote_are_read(shared_data: Path) -> None:
    folder = shared_data / "datumaro-assets" / "cvat_dataset"
    video = Assumed("v", 10.0)
    list(cvat.read(folder / "for_video" / "annotations.xml", video))
    assert video.left_out["shapes of type box"] > 0
    images = Assumed("i", 1.0)
    found = list(cvat.read(folder / "for_images" / "export_task" / "train.xml", images))
    assert len(found) == 2
    assert images.left_out["shapes without a label"] == 1
