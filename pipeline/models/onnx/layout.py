"""How exporters lay out a model of instances: what goes in, what comes out, by which names.

Facts of what torchvision, detectron2, mmdeploy, RF-DETR and the YOLO-seg exporters write; what is
different in a file of one's own is said in the settings `model.onnx`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pipeline.catalogue import hint
from pipeline.errors import ConfigError, ModelError

Triple = tuple[float, float, float]
_IMAGENET_MEAN: Triple = (123.675, 116.28, 103.53)
_IMAGENET_STD: Triple = (58.395, 57.12, 57.375)
ROLES = ("boxes", "scores", "labels", "masks")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLayout:
    """One way to lay out a model."""

    layout: str
    """Who writes files so."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Name of an output by its role."""
    colours: str = "rgb"
    mean: Triple = (0.0, 0.0, 0.0)
    """Taken off pixels of 0 to 255, in the order of `colours`."""
    std: Triple = (255.0, 255.0, 255.0)
    fit: str = "stretch"
    """`stretch`: to the input's size; `letterbox`: its shape kept, padded at the bottom and on the
    right; `picture`: as it is."""
    pad: float = 0.0
    """What padding is, before the mean is taken off."""
    size: tuple[int, int] | None = None
    """(height, width) of an input that leaves them open."""


LAYOUTS: dict[str, ExportLayout] = {
    one.layout: one
    for one in (
        ExportLayout(
            layout="torchvision",
            outputs={role: role for role in ROLES},
            fit="picture",
        ),
        ExportLayout(
            layout="detectron2",
            outputs={
                "boxes": "pred_boxes", "scores": "scores", "labels": "pred_classes",
                "masks": "pred_masks",
            },
            colours="bgr", std=(1.0, 1.0, 1.0), fit="picture",
        ),
        ExportLayout(
            layout="mmdeploy",
            outputs={"boxes": "dets", "labels": "labels", "masks": "masks"},
            mean=_IMAGENET_MEAN, std=_IMAGENET_STD, fit="letterbox",
        ),
        ExportLayout(
            layout="rfdetr",
            outputs={"boxes": "dets", "labels": "labels", "masks": "masks"},
            mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
        ),
        ExportLayout(
            layout="yolo",
            outputs={"boxes": "output0", "masks": "output1"},
            fit="letterbox", pad=114.0, size=(640, 640),
        ),
    )
}  # fmt: skip


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """`model.onnx` of the settings, as it is kept in a plan: plain values.

    Raises:
        ConfigError: a key or value that makes no sense.
    """
    known = {one.name for one in fields(ExportLayout)} - {"outputs"} | set(ROLES)
    words = {"layout": set(LAYOUTS), "colours": {"rgb", "bgr"}}
    words["fit"] = {"stretch", "letterbox", "picture"}
    lengths = {"mean": 3, "std": 3, "size": 2}
    for key, value in options.items():
        where = f"model.onnx.{key}"
        if key not in known:
            raise ConfigError(f"{where}: unknown{hint(key, known)}; known are {sorted(known)}")
        if key in words and value not in words[key]:
            raise ConfigError(f"{where}: expected one of {sorted(words[key])}, got {value!r:.60}")
        if key in ROLES and not isinstance(value, str):
            raise ConfigError(f"{where}: expected the name of an output, got {value!r:.60}")
        if key in lengths or key == "pad":
            _check_numbers(where, [value] if key == "pad" else value, lengths.get(key, 1))
    if 0 in options.get("std", ()) or min(options.get("size", (1,))) < 1:
        raise ConfigError("model.onnx: std and size must be above 0")
    return {key: tuple(value) if key in lengths else value for key, value in options.items()}


def _check_numbers(where: str, value: Any, count: int) -> None:
    numbers = isinstance(value, list | tuple) and all(type(n) in (int, float) for n in value)
    if not numbers or len(value) != count:
        raise ConfigError(f"{where}: expected {count} numbers, got {value!r:.60}")


def layout_of(
    outputs: Mapping[str, Sequence[Any]], options: Mapping[str, Any], origin: str
) -> ExportLayout:
    """The layout of a file, by the names and shapes of its outputs and what the settings say.

    Args:
        outputs: shape by name, dynamic sides as words or None.
        options: `model.onnx`, checked.
        origin: what the user wrote, for messages.

    Raises:
        ModelError: it is none of these, and the settings do not say enough; or it has no masks.
    """
    chosen = LAYOUTS[options["layout"]] if "layout" in options else _recognised(outputs)
    said = {role: options[role] for role in ROLES if role in options}
    if chosen is None and len(said) == len(ROLES):
        chosen = replace(LAYOUTS["torchvision"], fit="stretch")
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in outputs.items())[:400]
    if chosen is None:
        raise ModelError(
            f"weights {origin}: its outputs are not those of an exporter known here: {listed}; say "
            "which they are in model.onnx: layout, or boxes, scores, labels and masks; without "
            "masks it is no model of instances"
        )
    names = {**chosen.outputs, **said}
    if missing := [f"{role} ({name})" for role, name in names.items() if name not in outputs]:
        raise ModelError(
            f"weights {origin}: no output for {', '.join(missing)}, as layout {chosen.layout} has "
            f"them; its outputs are {listed}; say their names in model.onnx"
        )
    changed = {key: value for key, value in options.items() if key not in ROLES}
    return replace(chosen, **{**changed, "layout": chosen.layout, "outputs": names})


def _recognised(outputs: Mapping[str, Sequence[Any]]) -> ExportLayout | None:
    for name, layout in LAYOUTS.items():
        if not set(layout.outputs.values()) <= set(outputs):
            continue
        # both call them alike: RF-DETR's labels are logits by query and class
        if name in ("mmdeploy", "rfdetr") and (len(outputs["labels"]) == 3) != (name == "rfdetr"):
            continue
        return layout
    return None
