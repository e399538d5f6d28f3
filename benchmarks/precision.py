"""What a lower precision costs: `python -m benchmarks.precision` from the root.

Mask AP of the bundled weights on streets they were not trained on, in float32 and in what this
machine would choose. Exits with 1 where they differ by more than 0.005.
"""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks.machine import machine
from pipeline.evaluation.average_precision import Pair, mask_ap
from pipeline.models import load_segmenter
from pipeline.models.shared.devices import place
from pipeline.sources import open_source
from pipeline.sources.street.synthetic import SyntheticSource

LARGEST_LOSS = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[900001, 900002, 900003, 900004])
    parser.add_argument("--frames", type=int, default=40, help="of each street, every eighth")
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    torch.set_grad_enabled(False)
    chosen = place(arguments.device).precision
    segmenters = {
        precision: load_segmenter(
            "maskrcnn_resnet18_fpn",
            weights="demo",
            device=arguments.device,
            precision=precision,
            score_threshold=0.05,
        )
        for precision in ("fp32", chosen)
    }
    pairs: dict[str, list[Pair]] = {precision: [] for precision in segmenters}
    labels = {}
    for seed in arguments.seeds:
        url = f"synthetic://street?seed={seed}&frames={8 * arguments.frames}&size={arguments.size}"
        source = open_source(url, source_id="street")
        assert isinstance(source, SyntheticSource)
        labels = source.labels
        for frame in source.frames():
            if frame.index % 8 == 0:
                truth = source.truth(frame.index)
                for precision, segmenter in segmenters.items():
                    pairs[precision].append(Pair(truth, segmenter.segment([frame.image])[0]))
    values = {precision: mask_ap(some, labels).overall for precision, some in pairs.items()}
    for precision, value in values.items():
        print(
            f"{precision}: mask AP {value['AP']:.4f}, AP50 {value['AP50']:.4f}, "
            f"{len(pairs[precision])} pictures"
        )
    loss = values["fp32"]["AP"] - values[chosen]["AP"]
    print(f"{chosen} loses {loss:+.4f} of mask AP (at most {LARGEST_LOSS} is promised)")
    if abs(loss) > LARGEST_LOSS:
        sys.exit(1)


if __name__ == "__main__":
    main()
