"""Mask AP of a network on streets it was never trained on, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models.detection import MaskRCNN

from pipeline.instances import Instances
from pipeline.sources.street import LABELS
from pipeline.sources.street.scene import StreetScene
from pipeline.training.settings import TrainSettings

Case = tuple[NDArray[np.uint8], Instances]


def unseen_frames(settings: TrainSettings) -> Iterator[Case]:
    """Frames of the streets set aside for measuring."""
    check, data = settings.check, settings.data
    for seed in range(check.first_seed, check.first_seed + check.seeds):
        scene = StreetScene(seed, (data.height, data.width))
        for i in range(check.frames_per_seed):
            yield scene.frame(i * check.frame_step)


def mask_ap(network: MaskRCNN, cases: Iterable[Case]) -> dict[str, float]:
    """COCO mask AP (0.5:0.95) over all, at 0.5, at 0.75, by object size, and of each class."""
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image_id, (image, truth) in enumerate(cases):
        height, width = image.shape[:2]
        images.append({"id": image_id, "height": height, "width": width})
        truths.extend(_truth_rows(truth, image_id, first=len(truths) + 1))
        found.extend(_found_rows(network, image, image_id))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": images,
            "annotations": truths,
            "categories": [{"id": i, "name": name} for i, name in LABELS.items()],
        }
        coco.createIndex()
        if not found:
            return {"AP": 0.0}
        judge = COCOeval(coco, coco.loadRes(found), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    names = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
    out = {name: float(judge.stats[i]) for i, name in enumerate(names)}
    precision = judge.eval["precision"]  # (iou, recall, class, area, detections)
    for row, class_id in enumerate(judge.params.catIds):
        values = precision[:, :, row, 0, -1]
        known = values[values > -1]
        out[LABELS[class_id]] = float(known.mean()) if known.size else float("nan")
    return out


def _truth_rows(truth: Instances, image_id: int, first: int) -> list[dict[str, Any]]:
    return [
        {
            "id": first + i,
            "image_id": image_id,
            "category_id": class_id,
            "segmentation": rle,
            "area": area,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "iscrowd": 0,
        }
        for i, (class_id, rle, area, box) in enumerate(
            zip(
                truth.class_ids.tolist(),
                truth.masks.to_coco(),
                truth.masks.areas().tolist(),
                truth.boxes.tolist(),
                strict=True,
            )
        )
    ]


@torch.inference_mode()
def _found_rows(network: MaskRCNN, image: NDArray[np.uint8], image_id: int) -> list[dict[str, Any]]:
    rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    device = next(network.parameters()).device
    (answer,) = network([torch.from_numpy(rgb).to(device).float().div_(255)])
    masks = (answer["masks"][:, 0] > 0.5).cpu().numpy().astype(np.uint8)
    rows = []
    for mask, label, score in zip(
        masks, answer["labels"].tolist(), answer["scores"].tolist(), strict=True
    ):
        rle = coco_mask.encode(np.asfortranarray(mask))
        rows.append(
            {
                "image_id": image_id,
                "category_id": label,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                "score": score,
            }
        )
    return rows
