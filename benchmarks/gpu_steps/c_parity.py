"""Step c: what fp32 finds beside torchvision, and what fp16 costs, with the bundled weights."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.gpu_steps.checks import parity
from benchmarks.gpu_steps.rig import Rig
from pipeline.instances import Instances
from pipeline.sources import open_source
from pipeline.sources.street.synthetic import SyntheticSource


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
            (source.truth(frame.index), engine.run([frame.image])[0].instances())
            for frame in frames
        ]
        values[precision] = _mask_ap(pairs)
        rig.found(f"mask AP in {precision}, {len(pairs)} pictures", values[precision])
    lost = values["fp32"] - values["fp16"]
    rig.found("mask AP fp16 loses", lost)
    assert found >= 0.99 * total, f"{found} of {total} detections in fp32"
    assert rig.dry or abs(lost) <= 0.005, f"fp16 loses {lost:.4f} of mask AP"


def _mask_ap(pairs: list[tuple[Instances, Instances]]) -> float:
    """By the official tool: ours needs more packages than are where a GPU is."""
    records = [r for i, pair in enumerate(pairs, 1) for r in _records(i, pair[0])]
    answers = [r for i, pair in enumerate(pairs, 1) for r in _records(i, pair[1])]
    if not answers:
        return 0.0
    with redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "info": {},
            "images": [
                {"id": number, "height": truth.masks.size[0], "width": truth.masks.size[1]}
                for number, (truth, _) in enumerate(pairs, 1)
            ],
            "categories": [{"id": i} for i in sorted({r["category_id"] for r in records})],
            "annotations": [{**record, "id": i} for i, record in enumerate(records, 1)],
        }
        dataset.createIndex()
        judge = COCOeval(dataset, dataset.loadRes(answers), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


def _records(picture: int, instances: Instances) -> list[dict[str, Any]]:
    return [
        {
            "image_id": picture,
            "category_id": int(instances.class_ids[i]),
            "segmentation": code,
            "area": float(coco_masks.area(code)),
            "bbox": coco_masks.toBbox(code).tolist(),
            "iscrowd": 0,
            "score": float(instances.scores[i]),
        }
        for i, code in enumerate(instances.masks.to_coco())
    ]
