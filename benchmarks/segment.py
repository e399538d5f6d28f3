"""The engine beside torchvision: `python -m benchmarks.segment [--quick]` from the root.

Prints for every size, batch and number of detections the frames/s, p99, the ratio to torchvision's
own forward (eager, and under autocast) in the same run, and the time of each stage; on a GPU also
the frames/s with several batches in flight, the share of the per-layer roofline, the memory of a
picture in flight and the largest batch. Times are medians.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import MaskRCNN

from benchmarks.machine import machine
from benchmarks.roofline import cost
from pipeline.models import WeightsFile, fetch_weights
from pipeline.models.mask_rcnn.bench import Row, bench_model, network_for, noise
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules
from pipeline.models.shared.devices import place
from pipeline.models.shared.memory import is_out_of_memory

H200_TFLOPS, H200_TB_PER_S = 790.0, 4.3  # bf16 matrix product and memory, measured on one
SIZES = {
    "480x640": ((480, 640), (480, 640)),
    "720p": ((720, 1280), (800, 1333)),
    "1080p": ((1080, 1920), (800, 1333)),
    "800x1333": ((800, 1333), (800, 1333)),
}
"""Name to picture (height, width) and resize rule (min_size, max_size)."""


def main() -> None:
    arguments = _arguments()
    print(machine("torch", "torchvision", "cv2", "numpy"))
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for size in ["480x640"] if arguments.quick else arguments.sizes:
        picture, rule = SIZES[size]
        for batch in arguments.batch:
            table = bench_model(
                arguments.model,
                weights=_weights(arguments),
                device=arguments.device,
                precision=arguments.precision,
                sizes=[picture],
                batch=batch,
                detections=[10] if arguments.quick else arguments.detections,
                repeats=arguments.repeats,
                input_size=rule,
                forwards=[] if arguments.alone else ["eager", "autocast"],
            )
            print(table, flush=True)
            for row in table.rows:
                print(_share(arguments.model, row, rule), flush=True)
        if torch.cuda.is_available():
            _print_largest(arguments, size)


def _share(name: str, row: Row, rule: tuple[int, int]) -> str:
    """What the pass had to compute, and on a GPU how near it came to the roofline."""
    network = _shapes(name)
    padded = InputRules(*rule, (0.0,), (1.0,)).padded(row.size)
    proposals = network.rpn.post_nms_top_n()
    found = round(row.detections)
    need = cost(network, padded, proposals=proposals, detections=found, batch=row.batch)
    line = f"  {need.gflop:.0f} GFLOP a picture: {need.gflop / row.engine:.2f} TFLOP/s all in all"
    if not torch.cuda.is_available():
        return line
    need = cost(
        network,
        padded,
        proposals=proposals,
        detections=found,
        batch=row.batch,
        tflops=H200_TFLOPS,
        tb_per_s=H200_TB_PER_S,
    )
    best = min(row.engine, row.overlapped or row.engine)
    share = 100 * need.floor_ms / best
    return f"{line}; {share:.0f} % of the roofline of an H200 ({need.floor_ms:.2f} ms)"


def _print_largest(arguments: argparse.Namespace, size: str) -> None:
    """How many pictures of a size go through a GPU at once."""
    picture, rule = SIZES[size]
    network = network_for(arguments.model, _weights(arguments))
    network.transform.min_size, network.transform.max_size = (rule[0],), rule[1]
    placement = place(arguments.device, arguments.precision)
    engine = Engine(network, placement, score_threshold=0.5)
    height, width = engine.input_rules.padded(picture)
    fits = largest_batch(engine, noise(picture, 1)[0])
    print(f"bucket {height}x{width}: the largest batch is {fits}", flush=True)


def _weights(arguments: argparse.Namespace) -> WeightsFile | None:
    if arguments.weights is None:
        return None
    return fetch_weights(arguments.model, arguments.weights)


def _shapes(name: str) -> MaskRCNN:
    with torch.device("meta"):
        return network_for(name)


def largest_batch(engine: Engine, image: NDArray[np.uint8], most: int = 512) -> int:
    """The largest power of two of pictures that goes through at once, up to `most`; 0: not one."""
    fits = 0
    while 2 * fits <= most:
        try:
            engine.run([image] * max(1, 2 * fits))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        fits = max(1, 2 * fits)
    engine.forget()
    return fits


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="maskrcnn_resnet50_fpn")
    parser.add_argument("--weights", help="a file or word; by default random weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--detections", nargs="+", type=int, default=[0, 10, 100])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="the engine only")
    parser.add_argument("--quick", action="store_true", help="one size, 10 detections")
    return parser.parse_args()


if __name__ == "__main__":
    main()
