"""The test set of exact truth: same bytes every time, disjoint, followed and judged as text."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.evaluation import evaluate_tracks
from pipeline.evaluation.retrack import retrack
from pipeline.evaluation.rules import check_disjoint
from pipeline.formats.mot import read_mot
from pipeline.formats.mots import read_mots

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def silhouettes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import silhouettes

    return silhouettes


@pytest.fixture
def crossing(tmp_path: Path) -> Path:
    """Two people who pass each other, the second one in front."""
    lines = [
        f"{f},{i},{x},{y},40,120,1,1,1\n"
        for f in range(1, 41)
        for i, x, y in ((1, 20 + 5 * f, 30), (2, 220 - 5 * f, 40))
    ]
    (tmp_path / "gt.txt").write_text("".join(lines))
    return tmp_path / "gt.txt"


def written(silhouettes: ModuleType, gt: Path, out: Path, **noise: float) -> tuple[Path, Path]:
    scenes = silhouettes.walkers(read_mot(gt), fps=25, size=(200, 300), scale=1.0)
    for kind in ("truth", "found"):
        (out / kind).mkdir(parents=True)
    truth, found = out / "truth" / "s.txt", out / "found" / "s.txt"
    assert silhouettes.write(scenes, truth, found, noise=silhouettes.Noise(**noise)) == 40
    return truth, found


def test_the_same_boxes_give_the_same_bytes(
    silhouettes: ModuleType, crossing: Path, tmp_path: Path
) -> None:
    first = written(silhouettes, crossing, tmp_path / "a")
    second = written(silhouettes, crossing, tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert first[0].stat().st_size > 1000


def test_masks_are_disjoint_and_the_one_in_front_is_whole(
    silhouettes: ModuleType, crossing: Path, tmp_path: Path
) -> None:
    truth, found = written(silhouettes, crossing, tmp_path / "a", merge=0.5, false=0.5)
    check_disjoint(read_mots(truth))
    check_disjoint(read_mots(found, unique_ids=False))
    scenes = list(silhouettes.walkers(read_mot(crossing), fps=25, size=(200, 300), scale=1.0))
    front = [float(s.visible[s.ids == 2002].min()) for s in scenes if (s.ids == 2002).any()]
    behind = [float(s.visible[s.ids == 2001].min()) for s in scenes if (s.ids == 2001).any()]
    assert min(front) == 1.0
    assert min(behind) < 0.5


def test_without_noise_the_detector_finds_exactly_the_truth(
    silhouettes: ModuleType, crossing: Path, tmp_path: Path
) -> None:
    quiet = {"miss": -1.0, "merge": 0, "false": 0, "jitter_px": 0, "score": 0, "lost_frames": 0}
    truth, found = (
        read_mots(path, unique_ids=False)
        for path in written(silhouettes, crossing, tmp_path / "a", **quiet)
    )
    assert sorted(zip(truth.frames, truth.rles, strict=True)) == sorted(
        zip(found.frames, found.rles, strict=True)
    )
    assert np.allclose(found.scores, 0.9)


def test_the_texts_are_followed_and_judged(
    silhouettes: ModuleType, crossing: Path, tmp_path: Path
) -> None:
    truth, found = written(silhouettes, crossing, tmp_path / "a", miss=0.0, lost_frames=0.0)
    (tmp_path / "results").mkdir()
    retrack(found, format="mots", fps=25, output=tmp_path / "results" / "s.txt")
    report = evaluate_tracks(truth.parent, tmp_path / "results", format="kitti-mots")
    assert report.classes["pedestrian"]["s"]["DetA"] > 0.5
