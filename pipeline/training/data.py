"""Training pictures: streets rendered once into a folder, then cropped, scaled and flipped."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.reading import read_small
from pipeline.sources.street.scene import StreetScene
from pipeline.training.settings import DataSettings

log = logging.getLogger(__name__)

MIN_PIXELS = 60
"""An object with fewer pixels in a crop is not asked for."""
MIN_SHARE = 0.25
"""Nor one of which less than this share of what the frame shows is in the crop."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPicture:
    """One training picture."""

    image: NDArray[np.uint8]
    """(h, w, 3) BGR."""
    owner: NDArray[np.uint8]
    """(h, w): 0, or the number of the object whose pixel it is."""
    numbers: NDArray[np.int64]
    """(N,) numbers in `owner` of the objects to find."""
    class_ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    """(N, 4) xyxy."""


_LEFT = _IMAGES, _OWNERS, _OBJECTS = "images.u8", "owners.u8", "objects.jsonl"
_RECIPE = "recipe.json"
CACHED = (*_LEFT, _RECIPE)
"""What is left in the folder of rendered frames."""
_LARGEST_RECIPE = 1 << 20
_TRIES = 10_000
"""Crops without an object in a row, after which there is none to be found."""


class FrameStore:
    """Rendered frames in a folder; rendering goes on where it stopped."""

    def __init__(self, settings: DataSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.cache)
        if not refuse_other_frames(settings):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / _RECIPE).write_text(json.dumps(_recipe(settings)), "ascii")
        self._count = settings.seeds * settings.frames_per_seed
        size = (self._count, settings.height, settings.width)
        self._images = self._map(_IMAGES, (*size, 3))
        self._owners = self._map(_OWNERS, size)
        self._classes: list[list[int]] = []
        self.reload()

    def reload(self) -> int:
        """Take over what was rendered meanwhile, and say how many frames stand."""
        path = self._folder / _OBJECTS
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines[: self._count] if line.endswith(b"\n")]
            self._classes = [self._classes_in(line) for line in whole]
        return len(self._classes)

    def _classes_in(self, line: bytes) -> list[int]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(type(one) is int for one in found):
            raise ConfigError(
                f"data.cache: {self._folder / _OBJECTS} is damaged; remove the folder, or name "
                "another"
            )
        return found

    @property
    def complete(self) -> bool:
        """Whether every frame stands."""
        return len(self._classes) == self._count

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[int]]:
        """Image (H, W, 3), owners (H, W), class id of owner 1, 2, ..."""
        return self._images[row], self._owners[row], self._classes[row]

    def render(self) -> None:
        """Render all frames that are not there yet."""
        s = self._settings
        with (self._folder / _OBJECTS).open("a", encoding="ascii") as objects:
            scene: StreetScene | None = None
            for row in range(len(self._classes), self._count):
                seed = s.first_seed + row // s.frames_per_seed
                if scene is None or scene.seed != seed:
                    scene = StreetScene(seed, (s.height, s.width))
                    log.info("rendered %d of %d frames", row, self._count)
                index = (row % s.frames_per_seed) * s.frame_step
                image, truth = scene.frame(index)
                self._images[row] = image
                owner = np.zeros(image.shape[:2], np.uint8)
                for number, mask in enumerate(truth.masks.dense(), start=1):
                    owner[mask] = number
                self._owners[row] = owner
                classes = truth.class_ids.tolist()
                objects.write(json.dumps(classes) + "\n")
                objects.flush()
                self._classes.append(classes)

    def _map(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        path = self._folder / name
        mode: Any = "r+" if path.exists() else "w+"
        return np.memmap(path, np.uint8, mode, shape=shape)


def refuse_other_frames(settings: DataSettings) -> bool:
    """Refuse a folder that holds frames of other settings or of nobody here; say if any are there.

    Raises:
        ConfigError: it does.
    """
    folder = Path(settings.cache)
    try:
        found = json.loads(read_small(folder / _RECIPE, max_bytes=_LARGEST_RECIPE))
    except FileNotFoundError:
        if foreign := [name for name in _LEFT if os.path.lexists(folder / name)]:
            raise ConfigError(
                f"data.cache: {folder / foreign[0]} is there without a {_RECIPE} of a training; "
                "name another folder"
            ) from None
        return False
    except OSError as error:
        raise ConfigError(
            f"data.cache: {folder / _RECIPE} cannot be read: {error.strerror}"
        ) from error
    except (ValueError, RecursionError):
        found = None
    if found != _recipe(settings):
        raise ConfigError(
            f"data.cache: {folder} holds frames rendered with other settings; remove it or name "
            "another folder"
        )
    return True


def _recipe(settings: DataSettings) -> dict[str, int]:
    keys = ("first_seed", "seeds", "frames_per_seed", "frame_step", "height", "width")
    return {key: getattr(settings, key) for key in keys}


def render_all(settings: DataSettings) -> None:
    """Render what is missing; the work of a process of its own."""
    cv2.setNumThreads(1)
    began = time.monotonic()
    FrameStore(settings).render()
    log.info("all frames rendered after %.0f s", time.monotonic() - began)


def draw_sample(
    store: FrameStore, settings: DataSettings, rng: np.random.Generator
) -> TrainingPicture:
    """A random crop of a random frame that holds at least one object.

    Raises:
        ConfigError: none is found.
    """
    for _ in range(_TRIES):
        image, owner, classes = store[int(rng.integers(len(store)))]
        if not classes:
            continue
        sample = _crop(image, owner, classes, settings, rng)
        if len(sample.numbers):
            return sample
    raise ConfigError(
        "data: no crop of the rendered frames holds an object to learn; make crop_height, "
        "crop_width or the frames larger"
    )


def _crop(
    image: NDArray[np.uint8],
    owner: NDArray[np.uint8],
    classes: list[int],
    settings: DataSettings,
    rng: np.random.Generator,
) -> TrainingPicture:
    height, width = owner.shape
    scale = float(np.exp(rng.uniform(np.log(settings.min_scale), np.log(settings.max_scale))))
    h = min(height, round(settings.crop_height / scale))
    w = min(width, round(settings.crop_width / scale))
    rows, columns = np.nonzero(owner[::8, ::8])
    at = int(rng.integers(len(rows))) if len(rows) else 0
    cy, cx = (rows[at] * 8, columns[at] * 8) if len(rows) else (height // 2, width // 2)
    y0 = int(np.clip(cy - rng.uniform(0.15, 0.85) * h, 0, height - h))
    x0 = int(np.clip(cx - rng.uniform(0.15, 0.85) * w, 0, width - w))
    whole = np.bincount(owner.ravel(), minlength=len(classes) + 1)
    size = (settings.crop_width, settings.crop_height)
    window = (slice(y0, y0 + h), slice(x0, x0 + w))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(np.ascontiguousarray(image[window]), size, interpolation=smooth)
    owned = cv2.resize(np.ascontiguousarray(owner[window]), size, interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        picture, owned = cv2.flip(picture, 1), cv2.flip(owned, 1)
    picture = _jitter(picture, settings.colour_jitter, rng)
    numbers, kept, boxes = [], [], []
    for number, class_id in enumerate(classes, start=1):
        mask = owned == number
        shown = int(np.count_nonzero(mask))
        if shown < max(MIN_PIXELS, MIN_SHARE * whole[number] * scale * scale):
            continue
        xs, ys = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        if xs[-1] == xs[0] or ys[-1] == ys[0]:
            continue
        numbers.append(number)
        kept.append(class_id)
        boxes.append([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1])
    return TrainingPicture(
        picture.astype(np.uint8, copy=False),
        owned.astype(np.uint8, copy=False),
        np.array(numbers, np.int64),
        np.array(kept, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
    )


def _jitter(image: Any, amount: float, rng: np.random.Generator) -> Any:
    """Other light: a gain per channel, and a shift of all."""
    gain = rng.uniform(1 - amount, 1 + amount) * rng.uniform(1 - amount / 2, 1 + amount / 2, 3)
    shift = 255 * amount * rng.uniform(-0.5, 0.5)
    table = np.arange(256, dtype=np.float64)[None, :, None] * gain + shift
    return cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8))
