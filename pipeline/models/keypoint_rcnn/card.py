"""What is published about the Keypoint R-CNNs; their AP is that of keypoints, not of masks."""

from __future__ import annotations

from pipeline.models.shared.family import ModelCard


def _zoo(number: int) -> ModelCard:
    return ModelCard(
        code_licence="Apache-2.0",
        weights_licence="CC BY-SA 3.0",
        weights_from=f"detectron2's model zoo, COCO-Keypoints {number}: --weights FILE.pkl",
    )


R50 = ModelCard(
    code_licence="BSD-3-Clause",
    weights_licence="BSD-3-Clause, as the code: no other statement",
    weights_from="fetched from download.pytorch.org at first use, then kept; needs a network once",
    files=("keypointrcnn_resnet50_fpn_coco-fc266e95.pth",),
)
R101 = _zoo(138363331)
X101 = _zoo(139686956)
