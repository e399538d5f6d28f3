"""What end-to-end tests share: one Ray of the test session, and clips whose masks are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests; runs in this process join it instead of starting their own."""
    from workers.private import PrivateFolder
    from workers.ray_own import start_ray, stop_ray

    folder = PrivateFolder()
    start_ray(512 << 20, folder)
    yield
    stop_ray()
    folder.remove()


@pytest.fixture(scope="session")
def write_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Write a clip: two coloured squares cross each other over a drifting texture."""
    folder = tmp_path_factory.mktemp("clips")
    texture = np.random.default_rng(4).integers(20, 110, (8, 12)).repeat(16, 0).repeat(16, 1)

    def write(name: str, count: int) -> Path:
        path = folder / str(count) / name
        if path.exists():
            return path
        path.parent.mkdir(exist_ok=True)
        options = {"crf": "12", "bf": "2", "preset": "ultrafast"}
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            stream.time_base = Fraction(1, 25)
            for index in range(count):
                grey = np.roll(texture, -index // 3, axis=1)[:96, :128].astype(np.uint8)
                image = np.repeat(grey[:, :, None], 3, axis=2)
                x = index % 94
                image[20:44, 4 + x : 28 + x] = (0, 0, 255)
                image[30:60, 98 - x : 122 - x] = (0, 255, 0)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
