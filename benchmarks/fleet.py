"""A fleet too large for any machine here: `python -m benchmarks.fleet [--cameras 10000]`.

Thousands of cameras on hundreds of segment workers, with the real supervisor, the real places of
workers, the real dispatcher of every camera and the real batches of every worker; only processes,
pictures and the network are played, on a clock that jumps. A tenth of the segment workers dies in
the middle. Prints what deciding costs, how evenly cameras are served and how soon all of them are
served again, and exits with 1 where that is more than it may be.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.machine import machine
from benchmarks.played import LOAD_S, Fleet
from workers.neighbours import MOST

FEWEST = 18
LEAST_SERVED = 0.98
LATEST_S = 20
MOST_LOOKING = 0.3
"""What the fleet may come to; the supervisor looks in a process of its own."""


@dataclass(frozen=True, slots=True)
class Went:
    """How it went."""

    fewest: int
    """Frames of the camera that was served worst, before anybody died."""
    wait_s: float
    """That 99 % of the frames were answered within, before anybody died."""
    served: float
    """Of all frames that came in while a tenth of the segment workers were gone."""
    restored_s: float
    """From their death until 99 % of the frames of a second were answered in twice as long."""
    look_s: float
    """The longest look of the supervisor."""
    look_share: float
    """Of a core, for all looks."""
    decisions: int
    """Calls that a core decides about in a second."""
    told: float
    """Segment workers that a stream worker is told of each time."""


def play(cameras: int, segment_workers: int, *, each: int = 20, seconds: int = 20) -> Went:
    """Let it go on for so long, have a tenth of the segment workers die, and go on."""
    fleet = Fleet(segment_workers, each)
    fleet.begin(cameras)
    begin_s = LOAD_S + 5.0
    fleet.events.run(begin_s)
    fleet.forget()
    fleet.events.run(begin_s + seconds)
    fewest = min(camera.served for camera in fleet.cameras)
    wait_s = float(np.percentile(fleet.waits, 99))
    for victim in fleet.segments[::10]:
        victim.kill()
    served, restored_s = 0, 0
    for second in range(1, 2 * seconds + 1):
        fleet.waits.clear()
        fleet.events.run(begin_s + seconds + second)
        served += len(fleet.waits) if second <= LOAD_S else 0
        if np.percentile(fleet.waits, 99) > 2 * wait_s:
            restored_s = second
    return Went(
        fewest=fewest,
        wait_s=wait_s,
        served=served / (cameras * LOAD_S),
        restored_s=restored_s,
        look_s=fleet.looking.longest_s,
        look_share=fleet.looking.seconds / (3 * seconds),
        decisions=int(fleet.decided / fleet.deciding.seconds),
        told=fleet.told_members / fleet.tellings,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=500)
    arguments = parser.parse_args()
    logging.getLogger("workers").setLevel(logging.ERROR)  # hundreds of deaths, each told
    print(machine("numpy"))
    went = play(arguments.cameras, arguments.workers)
    for name, value in asdict(went).items():
        print(f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}")
    good = (
        went.fewest >= FEWEST
        and went.served >= LEAST_SERVED
        and went.restored_s <= LATEST_S
        and went.look_share <= MOST_LOOKING
        and went.told <= MOST + 1
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
