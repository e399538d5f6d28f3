"""What lost frames cost when truth itself matches: `python -m benchmarks.tracking_floor`.

After every hole the tracks seen before it are told by the truth of the recording which detection is
theirs, or that nobody is there any more; everything else is the tracker's own work. What
`benchmarks.tracking` loses beyond this is how often holes are read wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks.tracking import DATA, DRAWS
from benchmarks.tracking_data import Moment, Video, tasks
from benchmarks.tracking_tasks import Followed, Seen, bursts, everything, follow, half, judged
from pipeline.evaluation.counts import TrackCounts
from pipeline.tracking import tracker
from pipeline.tracking.cascade import Cascade

Index = NDArray[np.int64]
SAME = 0.25
"""Similarity from which a detection may show a true object; the best pairs count."""
NOBODY = -1


def main() -> None:
    """Print the loss of every task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test data")
    parser.add_argument("--quick", action="store_true", help="without what takes minutes")
    arguments = parser.parse_args()
    print("HOTA lost where frames are lost and truth matches after every hole: bursts, random half")
    for task in tasks(arguments.data, quick=arguments.quick):
        videos = list(task.read())
        whole = hota(videos, everything)
        cells = []
        for lose in (bursts, half):
            lossy = [hota(videos, lose(draw)) for draw in range(DRAWS)]
            cells.append(np.mean([whole[name] - row[name] for row in lossy for name in whole]))
        print(f"{task.name:<16}{cells[0]:8.2f}{cells[1]:8.2f}", flush=True)


def hota(videos: list[Video], seen: Seen) -> dict[str, float]:
    """HOTA in percent by class, truth matching after every hole."""
    sums: dict[str, TrackCounts] = {}
    for video in videos:
        followed = told(video, seen)
        for class_id, name in video.classes.items():
            sums[name] = sums.get(name, TrackCounts()) + judged(video, followed, class_id)
    return {name: 100 * counts.scores()["HOTA"] for name, counts in sums.items()}


def true_ids(moment: Moment) -> Index:
    """(N,) the true object each detection shows."""
    out = np.full(moment.similarity.shape[1], NOBODY)
    rows, columns = linear_sum_assignment(
        np.where(moment.similarity < SAME, 0.0, moment.similarity), maximize=True
    )
    shown = moment.similarity[rows, columns] >= SAME
    out[columns[shown]] = moment.truth_ids[rows[shown]]
    return out


def told(video: Video, seen: Seen) -> Followed:
    """`follow`, with truth matching after every hole."""
    moments = zip(video.moments, seen(video), strict=True)
    truth = ((true_ids(moment), moment.truth_ids) for moment, here in moments if here)
    known: dict[int, int] = {}
    longest_step = 1.5 / video.fps

    class Told(Cascade):
        """Matches by truth after a hole; learns who is who from every other match."""

        def pairs(self) -> tuple[Index, Index]:
            shown, there = next(truth)
            shown = shown[self._detections.rows]
            ids = self._tracks.ids
            if self._hole_s > longest_step:
                for row in np.flatnonzero((ids > 0) & (self._missed_s <= 0.0)).tolist():
                    itself = known.get(int(ids[row]), NOBODY)
                    if itself in shown or (itself != NOBODY and itself not in there):
                        self._tell(row, np.flatnonzero(shown == itself))
            rows, columns = super().pairs()
            sure = (ids[rows] > 0) & (shown[columns] != NOBODY)
            known.update(zip(ids[rows][sure].tolist(), shown[columns][sure].tolist(), strict=True))
            return rows, columns

        def _tell(self, row: int, where: Index) -> None:
            self._free[row] = False
            if len(where) and self._open[where[0]]:
                self._open[where[0]] = False
                self._pairs.append((np.array([row]), where[:1]))

    with patch.object(tracker, "Cascade", Told):
        return follow(video, seen)


if __name__ == "__main__":
    main()
