"""A file of detectron2's to a network with its weights."""

from __future__ import annotations

import torch
from torchvision.models.detection import MaskRCNN

from pipeline.errors import ModelError
from pipeline.models.mask_rcnn.detectron2.layout import called
from pipeline.models.mask_rcnn.detectron2.network import mask_rcnn
from pipeline.models.shared.detectron2 import body_of, is_extra
from pipeline.models.shared.importing import Held, import_weights

_HEAD = "roi_heads.box_predictor.cls_score.weight"


def load_mask_rcnn(name: str, held: Held, origin: str, **sizes: int) -> MaskRCNN:
    """A Mask R-CNN with the weights of a file.

    Args:
        name: of the model, for messages.
        held: what is in the file.
        origin: of the file, for messages.
        sizes: `min_size` and `max_size`, where the file says other ones than the published.

    Raises:
        ModelError: naming tensors that do not fit.
    """
    with torch.device("meta"):
        network = mask_rcnn(body_in(held, origin), rows_in(held, _HEAD, origin) - 1, **sizes)
    import_weights(network, held, called, what=name, origin=origin, extra=is_extra)
    return network


def body_in(held: Held, origin: str) -> str:
    """The body in a file.

    Raises:
        ModelError: another one than those of its published models.
    """
    body = body_of({name: tensor.shape for name, tensor in held.items()})
    if body is None:
        raise ModelError(
            f"weights {origin}: a body of detectron2 that is not known; expected R50, R101 or "
            "X101-32x8d with a pyramid"
        )
    return body


def rows_in(held: Held, head: str, origin: str) -> int:
    """Rows of a class head, background included.

    Raises:
        ModelError: there is none of that name, or it has no row but the background's.
    """
    shape = tuple(held[head].shape) if head in held else ()
    if len(shape) != 2 or shape[0] < 2:
        raise ModelError(f"weights {origin}: {head} must have a row a class, got {shape or 'none'}")
    return int(shape[0])
