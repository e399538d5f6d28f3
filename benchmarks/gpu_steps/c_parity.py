"""Step c: what fp32 finds beside torchvision, and what fp16 costs, with the bundled weights."""

from __future__ import annotations

from benchmarks.gpu_steps.checks import parity
from benchmarks.gpu_steps.rig import Rig
from pipeline.evaluation.average_precision import Pair, mask_ap
from pipeline.sources import open_source
from pipeline.sources.synthetic import SyntheticSource


def run(rig: Rig) -> None:
    """Matches one to one in fp32, then mask AP in both formats on pictures with exact truth."""
    found, total = parity(rig, rig.streets(rig.size(40, 2)))
    rig.found("fp32, detections of torchvision found", f"{found} of {total}")
    count, size = rig.size((40, "960x540"), (1, "160x96"))
    url = f"synthetic://street?seed=900001&frames={8 * count}&size={size}"
    source = open_source(url, source_id="street")
    assert isinstance(source, SyntheticSource)
    frames = [frame for frame in source.frames() if frame.index % 8 == 0]
    values = {}
    for precision in ("fp32", "fp16"):
        engine = rig.engine(rig.demo_network(), precision, threshold=0.05)
        pairs = [
            Pair(source.truth(frame.index), engine.run([frame.image])[0].instances())
            for frame in frames
        ]
        values[precision] = mask_ap(pairs, source.labels).overall["AP"]
        rig.found(f"mask AP in {precision}, {len(pairs)} pictures", values[precision])
    lost = values["fp32"] - values["fp16"]
    rig.found("mask AP fp16 loses", lost)
    assert found >= 0.99 * total, f"{found} of {total} detections in fp32"
    assert rig.dry or abs(lost) <= 0.005, f"fp16 loses {lost:.4f} of mask AP"
