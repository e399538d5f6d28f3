"""Training pictures: rendered once, cropped so that picture and truth still agree."""

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.sources.street.scene import StreetScene
from pipeline.training.data import FrameStore, draw_sample
from pipeline.training.settings import DataSettings


def settings(folder: Path, **changes: object) -> DataSettings:
    small: dict[str, object] = {
        "first_seed": 40,
        "seeds": 2,
        "frames_per_seed": 2,
        "height": 192,
        "width": 320,
        "crop_height": 128,
        "crop_width": 160,
        "cache": str(folder),
    }
    return DataSettings.model_validate(small | changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    store = FrameStore(settings(tmp_path_factory.mktemp("cache")))
    store.render()
    return store


def test_frames_are_those_of_the_streets(store: FrameStore) -> None:
    assert store.complete
    image, owner, classes = store[3]
    expected, truth = StreetScene(41, (192, 320)).frame(97)
    assert np.array_equal(image, expected)
    assert classes == truth.class_ids.tolist()
    for number, mask in enumerate(truth.masks.dense(), start=1):
        assert np.array_equal(owner == number, mask)


@pytest.mark.parametrize("name", ["images.u8", "owners.u8", "objects.jsonl"])
def test_files_that_are_not_of_a_training_are_left_as_they_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match=f"{name} is there without a recipe.json"):
        FrameStore(settings(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_rendering_goes_on_where_it_stopped(store: FrameStore, tmp_path: Path) -> None:
    stopped = FrameStore(settings(tmp_path))
    stopped.render()
    objects = tmp_path / "objects.jsonl"
    lines = objects.read_text().splitlines(keepends=True)
    objects.write_text("".join(lines[:3]))
    os.truncate(tmp_path / "images.u8", 0)
    resumed = FrameStore(settings(tmp_path))
    assert (len(resumed), resumed.complete) == (3, False)
    resumed.render()
    assert resumed.complete
    assert objects.read_text() == "".join(lines)
    assert np.array_equal(resumed[3][0], store[3][0])


def test_a_folder_of_other_frames_is_refused(tmp_path: Path) -> None:
    FrameStore(settings(tmp_path))
    with pytest.raises(ConfigError, match="holds frames rendered with other settings"):
        FrameStore(settings(tmp_path, first_seed=41))


def test_boxes_fit_the_masks_of_every_crop_tightly(store: FrameStore) -> None:
    for seed in range(30):
        sample = draw_sample(store, settings(Path("unused")), np.random.default_rng(seed))
        assert sample.image.shape == (128, 160, 3)
        assert len(sample.numbers) == len(sample.class_ids) == len(sample.boxes) >= 1
        for number, box in zip(sample.numbers, sample.boxes, strict=True):
            rows, columns = np.nonzero(sample.owner == number)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == tight


def test_a_flipped_crop_is_the_mirror_of_a_straight_one(store: FrameStore) -> None:
    still = settings(Path("unused"), min_scale=1.0, max_scale=1.0, colour_jitter=0.0)
    still = still.model_copy(update={"crop_height": 192, "crop_width": 320})
    seen = set()
    for seed in range(24):
        sample = draw_sample(store, still, np.random.default_rng(seed))
        for row in range(len(store)):
            image, owner, _ = store[row]
            for name, step in (("straight", 1), ("flipped", -1)):
                if np.array_equal(sample.image, image[:, ::step]):
                    assert np.array_equal(sample.owner, owner[:, ::step])
                    seen.add(name)
    assert seen == {"straight", "flipped"}
