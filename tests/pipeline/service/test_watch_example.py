"""The client of the examples sees what a stream publishes, with masks and pictures."""

from __future__ import annotations

import runpy
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from pipeline.frames import Frame
from pipeline.render.jpeg import jpeg
from pipeline.results import FrameResult
from pipeline.runtime import Latest, Viewing
from pipeline.service import build_api, listening
from pipeline.testing import make_instances

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "watch_service.py"
SIZE = (96, 128)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_the_client_of_the_examples_draws_the_newest_pictures(house, capsys) -> None:
    service, number = house.begin(), count()
    service.add({"id": "a", "url": "synthetic://street?seed=1"})
    instances = make_instances(1, size=SIZE)

    def latest(source_id: str, look: Viewing | None = None) -> Latest:
        image = np.full((*SIZE, 3), 90, np.uint8)
        frame = Frame("a", 0, next(number), 0.0, image)
        result = FrameResult.of(frame, instances, run="r", model="blob", labels={1: "thing"})
        return Latest(result, jpeg(image))

    house.run.latest = latest
    example = runpy.run_path(str(EXAMPLE))
    with listening(build_api(service), "127.0.0.1", 0, key="port") as port:
        shots = example["watch"](f"http://127.0.0.1:{port}", "a", fps=60)
        seen = [next(shots) for _ in range(4)]
        shots.close()
    frames = [record["frame"] for record, _ in seen]
    assert frames == sorted(set(frames))
    picture = example["drawn"](*seen[-1])
    (mask,) = coco.decode(instances.masks.to_coco()).transpose(2, 0, 1)
    assert (np.abs(picture.astype(int) - 90).max(axis=2) > 20).tolist() == (mask == 1).tolist()
    assert f"frame {frames[-1]}: thing covers {mask.sum()} pixels" in capsys.readouterr().out
