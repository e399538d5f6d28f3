"""Models of transformers as segmenters: loaded as a user would, judged by the library itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from pipeline import models
from pipeline.errors import ConfigError, ModelError, SegmentFailed
from pipeline.models.queries import decode
from pipeline.models.queries.preprocess import Preprocess
from pipeline.models.queries.segmenter import QuerySegmenter

Picture = NDArray[np.uint8]
FAMILIES = ["rfdetr", "eomt", "mask2former", "maskformer", "oneformer"]
IDS = {0: 1, 1: 2, 3: 4, 4: 5}


@pytest.fixture(scope="module")
def load(folders: dict[str, Path]) -> Callable[[str], QuerySegmenter]:
    made: dict[str, QuerySegmenter] = {}

    def loaded(name: str) -> QuerySegmenter:
        if name not in made:
            made[name] = models.load_segmenter(
                f"{name}:{folders[name]}", device="cpu", score_threshold=0.0
            )
        return made[name]

    return loaded


def outputs(segmenter: QuerySegmenter, picture: Picture) -> tuple[Any, Any]:
    """What the network itself says, and its input."""
    prepared = segmenter._prepare(picture)
    with torch.inference_mode():
        return segmenter._network(**prepared.inputs), prepared


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_becomes_a_segmenter_whose_instances_keep_the_contract(
    load: Callable[[str], QuerySegmenter], picture: Picture, name: str
) -> None:
    segmenter = load(name)
    assert segmenter.info.name == name
    assert segmenter.info.labels == {1: "leaf", 2: "stone", 4: "shell", 5: "cone"}
    assert len(segmenter.info.sha256) == 64
    tall = np.ascontiguousarray(picture.transpose(1, 0, 2))
    one, two = segmenter.segment([picture, tall])
    (alone,) = segmenter.segment([tall])
    assert (one.masks.size, two.masks.size) == ((150, 210), (210, 150))
    assert two.masks.same_as(alone.masks)
    for found, (height, width) in ((one, (150, 210)), (two, (210, 150))):
        assert len(found) > 3
        assert set(found.class_ids) <= {1, 2, 4, 5}
        assert (found.masks.areas() > 0).all()
        assert (np.diff(found.scores) <= 0).all()
        assert (found.scores > 0).all()
        assert (found.scores <= 1).all()
        x1, y1, x2, y2 = found.boxes.T
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= width)).all()
        assert ((y1 >= 0) & (y1 < y2) & (y2 <= height)).all()


def test_rf_detr_s_masks_are_bit_equal_to_the_library_s(
    load: Callable[[str], QuerySegmenter], folders: dict[str, Path], picture: Picture
) -> None:
    from transformers import AutoImageProcessor

    segmenter = load("rfdetr")
    output, _ = outputs(segmenter, picture)
    processor = AutoImageProcessor.from_pretrained(folders["rfdetr"])
    (theirs,) = processor.post_process_instance_segmentation(
        output, threshold=0.0, target_sizes=[(150, 210)], return_binary_maps=True
    )
    # rows without a name, and boxes without a pixel of the picture, are nobody's instances
    expected = [
        (one["label_id"] + 1, one["score"], mask.numpy().astype(bool))
        for one, mask in zip(theirs["segments_info"], theirs["segmentation"], strict=True)
        if one["label_id"] in IDS
    ]
    (found,) = segmenter.segment([picture])
    dense = found.masks.dense()
    assert len(found) == len(expected) > 3
    for row, (class_id, score, mask) in enumerate(expected):
        assert found.class_ids[row] == class_id
        assert found.scores[row] == pytest.approx(score, abs=1e-5)
        assert np.array_equal(dense[row], mask)


@pytest.mark.parametrize("name", ["eomt", "mask2former", "maskformer", "oneformer"])
def test_masks_and_scores_are_those_of_the_published_rule_computed_densely(
    load: Callable[[str], QuerySegmenter], picture: Picture, name: str
) -> None:
    segmenter = load(name)
    output, prepared = outputs(segmenter, picture)
    logits, masks = output.class_queries_logits[0], output.masks_queries_logits
    scores = logits.softmax(-1)[:, :-1]
    masks = interpolate(masks, size=prepared.padded, mode="bilinear")
    masks = masks[..., : prepared.kept[0], : prepared.kept[1]]
    masks = interpolate(masks, size=(150, 210), mode="bilinear")[0]
    expected = []
    for query, mask in enumerate(masks):
        on = mask > 0
        if not on.any():
            continue
        weight = float(mask.sigmoid()[on].mean())
        rows = [int(scores[query].argmax())] if name == "eomt" else range(5)
        expected += [
            (float(scores[query, row]) * weight, IDS[row], on.numpy()) for row in rows if row in IDS
        ]
    expected.sort(key=lambda one: -one[0])
    (found,) = segmenter.segment([picture])
    assert len(found) == len(expected) > 3
    assert found.scores == pytest.approx([score for score, *_ in expected], abs=1e-6)
    theirs = {(class_id, mask.tobytes()) for _, class_id, mask in expected}
    ours = zip(found.class_ids.tolist(), found.masks.dense(), strict=True)
    assert {(class_id, mask.tobytes()) for class_id, mask in ours} == theirs


def test_eomt_s_resize_is_the_library_s(
    load: Callable[[str], QuerySegmenter], folders: dict[str, Path], picture: Picture
) -> None:
    from transformers import AutoImageProcessor

    output, prepared = outputs(load("eomt"), picture)
    assert (prepared.padded, prepared.kept) == ((64, 64), (46, 64))
    processor = AutoImageProcessor.from_pretrained(folders["eomt"])
    masks = interpolate(output.masks_queries_logits, size=(64, 64), mode="bilinear")
    (theirs,) = processor.unpad_image(masks, [(150, 210)], processor.size)
    ours = interpolate(masks[..., :46, :64], size=(150, 210), mode="bilinear")[0]
    assert torch.equal(ours, theirs)


def test_oneformer_s_input_is_the_library_s(
    folders: dict[str, Path], tmp_path: Path, picture: Picture
) -> None:
    """Without a size to divide by, which its processor does not know: nothing is stretched."""
    import transformers

    (tmp_path / "names.json").write_text('{"0": {"isthing": 1, "name": "leaf"}}')
    make: Any = transformers.OneFormerImageProcessor
    theirs = make(
        size={"shortest_edge": 75, "longest_edge": 999}, repo_path=str(tmp_path),
        class_info_file="names.json", num_text=2,
    )  # fmt: skip
    theirs.save_pretrained(tmp_path)
    shutil.copy(folders["oneformer"] / "vocab.json", tmp_path)
    shutil.copy(folders["oneformer"] / "merges.txt", tmp_path)
    shutil.copy(folders["oneformer"] / "tokenizer_config.json", tmp_path)
    prepare = Preprocess("oneformer", tmp_path, "x", {"task_seq_len": 7}, torch.device("cpu"))
    prepared = prepare(picture)
    rgb = np.ascontiguousarray(picture[..., ::-1])
    expected = theirs(
        images=rgb, task_inputs=["instance"], return_tensors="pt",
        input_data_format="channels_last",
    )["pixel_values"]  # fmt: skip
    assert torch.equal(prepared.inputs["pixel_values"], expected)
    assert prepared.padded == prepared.kept == (75, 105)


def test_colours_reach_the_network_as_rgb(
    load: Callable[[str], QuerySegmenter], picture: Picture
) -> None:
    red = np.zeros((60, 80, 3), np.uint8)
    red[..., 2] = 255  # BGR
    _, prepared = outputs(load("rfdetr"), red)
    mean = prepared.inputs["pixel_values"][0].mean((1, 2))
    assert mean[0] > 2
    assert mean[2] < -1.5


def test_oneformer_is_told_its_task(
    load: Callable[[str], QuerySegmenter], picture: Picture
) -> None:
    _, prepared = outputs(load("oneformer"), picture)
    assert prepared.inputs["task_inputs"].tolist() == [[0, 2, 3, 4, 5, 1, 0]]


def test_a_query_may_answer_with_several_classes_and_its_mask_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    rasterise = decode.rasterise

    def spied(maps: Any, size: Any, **more: Any) -> Any:
        listed = list(maps)
        made.append(len(listed))
        return rasterise(listed, size, **more)

    monkeypatch.setattr(decode, "rasterise", spied)
    logits = torch.tensor([[2.0, 1.9, -9.0], [0.0, -9.0, 5.0]])
    masks = torch.full((2, 4, 4), -1.0)
    masks[0, :2] = masks[1, 2:] = 1.0
    found = decode.instances(
        decode.Answers(logits, masks), decode.best_pairs(logits), {0: 1, 1: 2}, (8, 8),
        threshold=0.1, padded=None, kept=None, weighed=False,
    )  # fmt: skip
    assert made == [1]
    assert found.class_ids.tolist() == [1, 2]
    assert found.masks.dense()[0].tolist() == found.masks.dense()[1].tolist()


def test_a_changed_folder_on_a_worker_s_machine_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    file = models.fetch_weights("eomt", str(folders["eomt"]))
    assert file is not None
    assert file.data == b""  # the reference travels
    assert models.local_weights(str(folders["eomt"]), "eomt") == file
    other = type(file)(file.origin, b"", "0" * 64, {}, file.labels)
    with pytest.raises(ModelError, match="is not what the run was started with"):
        models.load_segmenter("eomt", weights=other, device="cpu")


def test_a_closed_segmenter_and_a_bad_picture_say_so(
    folders: dict[str, Path], picture: Picture
) -> None:
    segmenter = models.load_segmenter(f"eomt:{folders['eomt']}", device="cpu")
    with pytest.raises(SegmentFailed) as caught:
        segmenter.segment([picture, picture[..., 0]])
    assert caught.value.cause == "bad_picture"
    segmenter.close()
    segmenter.close()
    with pytest.raises(SegmentFailed) as caught:
        segmenter.segment([picture])
    assert caught.value.cause == "closed"


def test_an_error_of_the_network_fails_the_picture(
    folders: dict[str, Path], picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = models.load_segmenter(f"eomt:{folders['eomt']}", device="cpu")

    def broken(**_: object) -> None:
        raise RuntimeError("shapes do not fit\nand more")

    monkeypatch.setattr(segmenter, "_network", broken)
    with pytest.raises(SegmentFailed) as caught:
        segmenter.segment([picture])
    assert (caught.value.cause, caught.value.detail) == ("model_error", "shapes do not fit")


def test_options_that_make_no_sense_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="score_threshold: expected 0 to 1, got 2"):
        models.load_segmenter(f"eomt:{folders['eomt']}", score_threshold=2)
    with pytest.raises(ConfigError, match="precision 'int8'"):
        models.load_segmenter(f"eomt:{folders['eomt']}", precision="int8")


def test_neither_maskstream_nor_mask_rcnn_imports_the_library() -> None:
    program = (
        "import sys, maskstream\n"
        "from pipeline import models\n"
        "models.model_labels('maskrcnn_resnet18_fpn', 'demo')\n"
        "assert not {'transformers', 'torch', 'onnxruntime'} & set(sys.modules)\n"
        "models.load_segmenter('maskrcnn_resnet18_fpn', device='cpu')\n"
        "assert not {'transformers', 'huggingface_hub', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
