"""ONNX files of every exporter that is known: recognised, decoded exactly, and refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline import models
from pipeline.config import parse
from pipeline.errors import ConfigError, MaskstreamError, ModelError, SegmentFailed
from pipeline.models import naming
from pipeline.models.onnx.layout import LAYOUTS, checked_options, layout_of
from pipeline.models.onnx.preprocess import feed
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.plan.resolve import resolve

Arrays = dict[str, NDArray[Any]]
LABELS = ["leaf", "stone", "shell"]


def answering(
    path: Path,
    outputs: Arrays,
    *,
    given: tuple[int | str, ...] = (1, 3, 40, 60),
    labels: list[str] | None = LABELS,
    opset: int = 17,
    **metadata: str,
) -> str:
    """A model that says the same of every picture."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in outputs.items()
    ]
    told = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in outputs.items()
    ]
    taken = [helper.make_tensor_value_info("image", TensorProto.FLOAT, given)]
    graph = helper.make_graph(nodes, "constant", taken, told)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
    if labels is not None:
        path.with_name(path.name + ".labels.json").write_text(json.dumps(labels))
    return str(path)


def single(*values: object) -> NDArray[np.float32]:
    return np.array(values, np.float32)


BOXES = single([6, 4, 30, 24], [30, 20, 60, 40])
WHOLE = np.zeros((2, 40, 60), np.float32)
WHOLE[0, 4:24, 6:30] = WHOLE[1, 20:40, 30:60] = 0.9


def torchvision() -> Arrays:
    return {
        "boxes": BOXES, "labels": np.array([2, 3], np.int64), "scores": single(0.5, 0.75),
        "masks": WHOLE[:, None],
    }  # fmt: skip


def detectron2() -> Arrays:
    return {
        "pred_boxes": BOXES, "pred_classes": np.array([1, 2], np.int64),
        "scores": single(0.5, 0.75), "pred_masks": np.full((2, 1, 28, 28), 0.9, np.float32),
    }  # fmt: skip


def mmdeploy() -> Arrays:
    return {
        "dets": np.concatenate([BOXES, single([0.5], [0.75])], 1)[None],
        "labels": np.array([[1, 2]], np.int64), "masks": WHOLE[None],
    }  # fmt: skip


def rfdetr() -> Arrays:
    x1, y1, x2, y2 = (BOXES / single(60, 40, 60, 40)).T
    classes = np.full((1, 2, 4), -20, np.float32)
    classes[0, 0, 1], classes[0, 1, 2] = 0.0, np.log(3)
    return {
        "dets": np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], -1)[None],
        "labels": classes, "masks": np.where(WHOLE > 0, 5, -5)[None].astype(np.float32),
    }  # fmt: skip


def yolo(end_to_end: bool = False) -> Arrays:
    prototypes = np.where(WHOLE > 0, 5, -5)[None].astype(np.float32)
    prototypes = np.concatenate([prototypes, np.zeros((1, 30, 40, 60), np.float32)], 1)
    coefficients = np.eye(32, dtype=np.float32)[:2]
    if end_to_end:
        found = np.concatenate([BOXES, single([0.5, 1], [0.75, 2]), coefficients], 1)[None]
    else:
        x1, y1, x2, y2 = BOXES.T
        boxes = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], -1)
        found = np.concatenate([boxes, single([0, 0.5, 0], [0, 0, 0.75]), coefficients], 1)
        twice = np.concatenate([found, found * single(*[1] * 4, *[0.9] * 3, *[1] * 32)])
        found = twice.T[None]  # the second two are suppressed
    return {"output0": np.ascontiguousarray(found), "output1": prototypes}


KINDS: dict[str, Callable[[], Arrays]] = {
    "torchvision": torchvision, "detectron2": detectron2, "mmdeploy": mmdeploy, "rfdetr": rfdetr,
    "yolo": yolo, "yolo-end-to-end": lambda: yolo(end_to_end=True),
}  # fmt: skip


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_every_exporter_s_outputs_become_instances_of_the_picture(
    tmp_path: Path, make: Callable[[], Arrays]
) -> None:
    path = answering(tmp_path / "m.onnx", make())
    segmenter = models.load_segmenter(f"onnx:{path}", device="cpu")
    assert segmenter.info.labels == {1: "leaf", 2: "stone", 3: "shell"}
    (small,) = segmenter.segment([np.zeros((40, 60, 3), np.uint8)])
    assert small.class_ids.tolist() == [3, 2]
    assert small.scores == pytest.approx([0.75, 0.5])
    assert small.boxes == pytest.approx(single([30, 20, 60, 40], [6, 4, 30, 24]), abs=1e-4)
    expected = WHOLE[[1, 0]] > 0
    wrong = (small.masks.dense() != expected).mean(axis=(1, 2))
    assert (wrong < 0.03).all()  # a border pixel where masks lie inside boxes
    (large,) = segmenter.segment([np.zeros((80, 120, 3), np.uint8)])
    assert large.boxes == pytest.approx(2 * small.boxes, abs=1e-3)
    assert large.masks.size == (80, 120)
    assert (np.abs(large.masks.areas() / small.masks.areas() - 4) < 0.5).all()


def test_a_letterboxed_picture_keeps_its_shape_and_its_masks_lose_the_padding(
    tmp_path: Path,
) -> None:
    path = answering(tmp_path / "m.onnx", yolo())
    (found,) = models.load_segmenter(f"onnx:{path}", device="cpu").segment(
        [np.zeros((60, 60, 3), np.uint8)]  # 40x40 of the input's 40x60
    )
    assert found.boxes == pytest.approx(single([45, 30, 60, 60], [9, 6, 45, 36]), abs=1e-3)
    assert found.masks.boxes().tolist()[0][2:] == [60, 60]


def test_pictures_are_fed_as_each_exporter_s_training_had_them() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[..., 0], image[..., 2] = 10, 200  # BGR
    shape = (1, 3, 40, 60)
    fed = feed(image, LAYOUTS["yolo"], shape)
    assert (fed.padded, fed.kept) == ((40, 60), (20, 60))
    assert fed.pixels[0, :, 0, 0] == pytest.approx([200 / 255, 0, 10 / 255])
    assert fed.pixels[0, :, 30, 0] == pytest.approx([114 / 255] * 3)
    fed = feed(image, LAYOUTS["rfdetr"], shape)
    assert fed.kept == (40, 60)
    assert fed.pixels[0, 0, 0, 0] == pytest.approx((200 - 123.675) / 58.395)
    fed = feed(image, LAYOUTS["detectron2"], (3, None, None))
    assert fed.pixels.shape == (3, 20, 60)
    assert fed.pixels[:, 0, 0].tolist() == [10, 0, 200]
    fed = feed(image, LAYOUTS["torchvision"], (1, 3, None, None))
    assert fed.pixels[0, 0, 0, 0] == pytest.approx(200 / 255)


def refused(path: str, **options: Any) -> str:
    with pytest.raises(MaskstreamError) as caught:
        models.load_segmenter(f"onnx:{path}", device="cpu", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(path, "m.onnx")


def test_outputs_nobody_knows_are_listed_and_asked_for(tmp_path: Path) -> None:
    known = torchvision()
    renamed = dict(zip(("1", "2", "3", "4"), known.values(), strict=True))
    path = answering(tmp_path / "m.onnx", renamed)
    assert refused(path) == (
        "weights m.onnx: its outputs are not those of an exporter known here: 1 [2, 4], 2 [2], 3 "
        "[2], 4 [2, 1, 40, 60]; say which they are in model.onnx: layout, or boxes, scores, labels "
        "and masks; without masks it is no model of instances"
    )
    said = {"boxes": "1", "labels": "2", "scores": "3", "masks": "4"}
    (found,) = models.load_segmenter(f"onnx:{path}", device="cpu", onnx=said).segment(
        [np.zeros((40, 60, 3), np.uint8)]
    )
    assert found.class_ids.tolist() == [3, 2]
    assert "no output for boxes (dets), labels (labels)" in refused(
        path, onnx={"layout": "mmdeploy"}
    )


def test_what_is_no_model_of_instances_is_refused(tmp_path: Path) -> None:
    without = {key: value for key, value in torchvision().items() if key != "masks"}
    assert "without masks it is no model" in refused(answering(tmp_path / "a.onnx", without))
    path = answering(tmp_path / "b.onnx", torchvision(), given=(4, 3, 40, 60))
    assert refused(path).endswith("got image tensor(float) [4, 3, 40, 60]")
    path = answering(tmp_path / "c.onnx", yolo(), given=(1, 3, "h", "w"))
    models.load_segmenter(f"onnx:{path}", device="cpu")  # its own size is 640
    path = answering(tmp_path / "d.onnx", rfdetr(), given=(1, 3, "h", "w"))
    assert "leaves height and width open; say which it was made for" in refused(path)
    models.load_segmenter(f"onnx:{path}", device="cpu", onnx={"size": [40, 60]})
    path = answering(tmp_path / "e.onnx", torchvision(), labels=None)
    assert 'put them beside it into m.onnx.labels.json: ["car", ...]' in refused(path)
    path = answering(tmp_path / "f.onnx", torchvision(), opset=999)
    assert "onnxruntime cannot load it: " in refused(path)
    (tmp_path / "g.onnx").write_bytes((tmp_path / "e.onnx").read_bytes()[:300])
    assert "onnxruntime cannot load it: " in refused(str(tmp_path / "g.onnx"))
    (tmp_path / "h.onnx").write_text("no model")
    assert refused(str(tmp_path / "h.onnx")) == "weights m.onnx: no ONNX file"
    assert "no such file" in refused(str(tmp_path / "none.onnx"))
    assert "an ONNX file has its own" in refused(path, precision="fp32")


def test_labels_come_from_the_file_where_an_exporter_puts_them(tmp_path: Path) -> None:
    names = str(dict(enumerate(["leaf", "stone", "shell"])))
    path = answering(tmp_path / "a.onnx", yolo(), labels=None, names=names)
    made = models.load_segmenter(f"onnx:{path}", device="cpu")
    assert made.info.labels == {1: "leaf", 2: "stone", 3: "shell"}
    coco = str(dict(enumerate(COCO_LABELS.values())))
    path = answering(tmp_path / "b.onnx", yolo(), labels=None, names=coco)
    made = models.load_segmenter(f"onnx:{path}", device="cpu")
    assert made.info.labels == COCO_LABELS
    path = answering(tmp_path / "c.onnx", yolo(), labels=None, names="__import__('os')")
    assert "metadata `names` cannot be read as labels" in refused(path)
    wide = rfdetr()
    wide["labels"] = np.full((1, 2, 91), -20, np.float32)
    wide["labels"][0, 0, 90] = 3.0
    path = answering(tmp_path / "d.onnx", wide, labels=None)
    (found,) = models.load_segmenter(f"onnx:{path}", device="cpu").segment(
        [np.zeros((40, 60, 3), np.uint8)]
    )
    assert found.class_ids.tolist() == [90]  # toothbrush


def test_a_picture_it_fails_on_has_failed_with_the_runtime_s_reason(tmp_path: Path) -> None:
    odd = torchvision()
    odd["masks"] = np.zeros((2, 1, 7, 9), np.float32)
    path = answering(tmp_path / "a.onnx", odd)
    segmenter = models.load_segmenter(f"onnx:{path}", device="cpu")
    with pytest.raises(SegmentFailed, match="are neither those of the input"):
        segmenter.segment([np.zeros((40, 60, 3), np.uint8)])
    segmenter.close()
    with pytest.raises(SegmentFailed, match="closed"):
        segmenter.segment([])


def test_settings_are_checked_kept_in_the_plan_and_are_part_of_the_run(tmp_path: Path) -> None:
    path = answering(tmp_path / "a.onnx", torchvision())

    def plan(**options: Any) -> Any:
        source = {"id": "a", "url": "synthetic://street?frames=2"}
        model = {"weights": path, "onnx": options}
        sinks = [f"jsonl:{tmp_path}/{{source}}.jsonl"]
        return resolve(parse({"model": model, "sources": [source], "sinks": sinks})).model

    assert plan().name == "onnx"
    assert plan(size=[40, 60]).onnx == (("size", (40, 60)),)
    assert plan(size=[40, 60]).identity != plan().identity
    with pytest.raises(ConfigError, match=r"model.onnx.sze: unknown, did you mean 'size'\?"):
        plan(sze=3)
    with pytest.raises(ConfigError, match=r"model.onnx: is for --model onnx:FILE.onnx"):
        models.onnx_options("blob", {"size": [1, 2]})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layout": "caffe"}, "model.onnx.layout: expected one of "),
        ({"boxes": 3}, "model.onnx.boxes: expected the name of an output, got 3"),
        ({"mean": [1, 2]}, "model.onnx.mean: expected 3 numbers"),
        ({"std": [1, 0, 1]}, "std and size must be above 0"),
        ({"size": [0, 5]}, "std and size must be above 0"),
        ({"pad": "grey"}, "model.onnx.pad: expected 1 numbers"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked_options(options)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "find_spec", lambda module: None)
    with pytest.raises(ConfigError) as caught:
        models.choose(f"onnx:{tmp_path}/a.onnx")
    assert str(caught.value) == (
        "model onnx needs onnxruntime, which is not installed: pip install 'maskstream[onnx]'"
    )


def test_a_layout_is_told_by_its_outputs() -> None:
    for name, make in KINDS.items():
        shapes = {key: list(value.shape) for key, value in make().items()}
        assert layout_of(shapes, {}, "x").layout == name.removesuffix("-end-to-end")
    with pytest.raises(ModelError, match="without masks"):
        layout_of({"output0": [1, 84, 8400]}, {}, "x")
