"""Mask2Former R50 by transformers against what the authors' own code made of the same weights.

The network is the library's, built from its configuration; preparation and decoding are ours. Each
stage is compared as the recorded outputs' README says, instances as a set: class, score and mask.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.arrays import Size
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models.queries import decode
from pipeline.models.queries.labels import classes_of
from pipeline.models.queries.preprocess import NetworkInput, Preprocess
from pipeline.models.queries.segmenter import QuerySegmenter
from pipeline.models.shared import raster
from pipeline.models.shared.devices import place
from pipeline.models.shared.labels import COCO_LABELS
from pipeline.stages import ModelInfo
from tests.pipeline.models.golden import Golden, folder_of

CASES = ("0", "1")
STAGES = (
    "stem", "c2", "c3", "c4", "c5", "encoder_input", "encoder_0", "encoder_output", "mask_features",
    "first_logits", "first_masks", "query_0", "query_8", "pred_logits", "pred_masks",
)  # fmt: skip
BODY = "model.pixel_level_module.encoder"
PIXELS = "model.pixel_level_module.decoder"
QUERIES = "model.transformer_module.decoder"


@dataclass(frozen=True)
class Case:
    """One picture on its way through the library's network."""

    prepared: NetworkInput
    output: Any
    stages: dict[str, Tensor]


@dataclass(frozen=True)
class Run:
    """The recorded outputs, and ours."""

    golden: Golden
    segmenters: dict[str, QuerySegmenter]
    cases: dict[str, Case]

    def decoded(self, case: str) -> Instances:
        """What our decoding makes of the network's output, at the recorded size."""
        made = self.cases[case]
        size = self.golden.output_size(case)
        return self.segmenters[case]._decoded(made.output, made.prepared, size)

    def found_again(self, case: str, found: Instances) -> int:
        """How many recorded instances were found exactly, each by one of ours."""
        overlap = iou(self.golden.masks(case), found.masks)
        classes = np.array(list(COCO_LABELS))[self.golden.array(case, "classes")]
        near = np.abs(self.golden.array(case, "scores")[:, None] - found.scores[None])
        same = (classes[:, None] == found.class_ids[None]) & (overlap > 0.99)
        same &= near < self.golden.tolerances["scores"]
        assert (same.sum(axis=0) <= 1).all()
        return int((same.sum(axis=1) == 1).sum())


def iou(ours: Masks, theirs: Masks) -> NDArray[np.float32]:
    """Of all pairs, by pixels: quicker than by runs where nearly all masks overlap."""
    one, other = (torch.from_numpy(m.dense()).flatten(1).float() for m in (ours, theirs))
    common = one @ other.T
    return np.asarray(common / (one.sum(1)[:, None] + other.sum(1)[None] - common))


def network_of(golden: Golden) -> Any:
    """The library's, with every recorded weight under its name there, each used once."""
    import transformers as library

    make: Any = library  # it leaves types of its options out
    body = make.ResNetConfig(
        layer_type="bottleneck", downsample_in_bottleneck=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = make.Mask2FormerConfig(backbone_config=body, num_labels=80)
    network = make.Mask2FormerForUniversalSegmentation(config)
    theirs = json.loads((golden.path / "transformers_names.json").read_text())
    weights: dict[str, Tensor] = {}
    for name, value in golden.state(extras=True).items():
        names = theirs.get(name, name)
        parts = np.split(value, 3) if isinstance(names, list) else [value]
        for one, part in zip(names if isinstance(names, list) else [names], parts, strict=True):
            assert one not in weights, one
            weights[one] = torch.from_numpy(part)
    network.load_state_dict(weights, strict=True)
    return network.eval().requires_grad_(False)


def tapped(network: Any) -> tuple[dict[str, Tensor], list[Any]]:
    """What passes through the parts of the network, and the hooks that write it down."""
    seen: dict[str, Tensor] = {}

    def keep(path: str, name: str, pick: Callable[[Any, Any, Any], Any]) -> Any:
        return network.get_submodule(path).register_forward_hook(
            lambda _, given, named, made: seen.__setitem__(name, pick(given, named, made)),
            with_kwargs=True,
        )

    def first(given: Any, named: Any, made: Any) -> Any:
        return made[0] if isinstance(made, tuple) else made

    hooks = [
        keep(f"{BODY}.embedder", "stem", first),
        keep(f"{PIXELS}.encoder", "encoder_input", lambda g, n, m: n["inputs_embeds"]),
        keep(f"{PIXELS}.encoder.layers.0", "encoder_0", first),
        keep(f"{PIXELS}.encoder", "encoder_output", lambda g, n, m: m.last_hidden_state),
        keep(f"{PIXELS}.mask_projection", "mask_features", first),
        keep(f"{QUERIES}.layers.0", "query_0", first),
        keep(f"{QUERIES}.layers.8", "query_8", first),
        *(keep(f"{BODY}.encoder.stages.{n}", f"c{n + 2}", first) for n in range(4)),
    ]
    return seen, hooks


def passed(network: Any, prepared: NetworkInput) -> Case:
    """One picture through the network, with all stages in the recorded form."""
    seen, hooks = tapped(network)
    with torch.inference_mode():
        output = network(**prepared.inputs, output_auxiliary_logits=True)
    for hook in hooks:
        hook.remove()
    for name, made in seen.items():  # the library has the queries first, then the batch
        seen[name] = made[:, 0] if name in ("query_0", "query_8") else made[0]
    seen["pred_logits"] = output.class_queries_logits[0]
    seen["pred_masks"] = output.masks_queries_logits[0, :6]
    seen["first_logits"] = output.auxiliary_logits[0]["class_queries_logits"][0]
    seen["first_masks"] = output.auxiliary_logits[0]["masks_queries_logits"][0, :2]
    return Case(prepared, output, seen)


def prepare_in(folder: Path, picture: NDArray[np.uint8], **changed: Any) -> Preprocess:
    """Our preparation by a folder's settings: as the recorded pictures went in, only padded."""
    from transformers import Mask2FormerImageProcessor

    height, width = (-(-side // 32) * 32 for side in picture.shape[:2])
    said = {"do_resize": False, "pad_size": {"height": height, "width": width}, **changed}
    Mask2FormerImageProcessor(**said).save_pretrained(folder)
    return Preprocess("mask2former", folder, str(folder), {}, torch.device("cpu"))


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Golden:
    return folder_of(shared_data, "mask2former_r50_coco_instance")


@pytest.fixture(scope="module")
def run(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Run:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = network_of(golden)
    classes = classes_of({"id2label": dict(enumerate(COCO_LABELS.values()))}, "golden")
    info = ModelInfo("mask2former", dict(classes.labels), "")
    segmenters, cases = {}, {}
    for case in CASES:
        picture = golden.picture(case)
        prepare = prepare_in(tmp_path_factory.mktemp("golden"), picture)
        segmenters[case] = QuerySegmenter(
            network, "mask2former", prepare, classes, info, place("cpu", "fp32"),
            score_threshold=0.0,
        )  # fmt: skip
        cases[case] = passed(network, prepare(picture))
    torch.set_num_threads(threads)
    return Run(golden, segmenters, cases)


# ---------------------------------------------------------------- stages


@pytest.mark.parametrize("case", CASES)
def test_the_input_is_the_recorded_one(run: Run, case: str) -> None:
    prepared = run.cases[case].prepared
    assert run.golden.error(case, "input", prepared.inputs["pixel_values"][0]) <= 1
    assert prepared.kept == run.golden.picture(case).shape[:2]
    assert prepared.padded == {"0": (192, 256), "1": (160, 224)}[case]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("case", CASES)
def test_every_stage_is_within_its_tolerance(run: Run, case: str, stage: str) -> None:
    assert run.golden.error(case, stage, run.cases[case].stages[stage]) <= 1


def test_the_pairs_of_query_and_class_are_the_recorded_ones(run: Run) -> None:
    for case in CASES:
        chosen = decode.best_pairs(run.cases[case].output.class_queries_logits[0])
        names = ("net_query", "classes", "net_class_scores")
        query, row, score = (run.golden.array(case, name) for name in names)
        at = {(q, r): s for q, r, s in zip(query.tolist(), row.tolist(), score, strict=True)}
        pairs = zip(chosen.queries.tolist(), chosen.rows.tolist(), strict=True)
        ours = dict(zip(pairs, chosen.scores.numpy(), strict=True))
        assert ours.keys() == at.keys()
        off = max(abs(float(ours[pair] - at[pair])) for pair in at)
        assert off <= run.golden.tolerances["net_class_scores"]


# ---------------------------------------------------------------- instances


@pytest.mark.parametrize("case", CASES)
def test_the_instances_are_the_recorded_ones_as_a_set(run: Run, case: str) -> None:
    found = run.decoded(case)
    assert found.masks.size == run.golden.output_size(case)
    assert (len(found), run.found_again(case, found)) == (100, 100)


def test_a_segmenter_finds_them_in_the_picture(run: Run) -> None:
    (found,) = run.segmenters["0"].segment([run.golden.picture("0")])  # results at its own size
    assert (len(found), run.found_again("0", found)) == (100, 100)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"image_mean": [0.406, 0.456, 0.485]}, id="mean of the other order"),
        pytest.param({"image_std": [0.225, 0.224, 0.229]}, id="std of the other order"),
        pytest.param({"do_rescale": False}, id="not rescaled"),
        pytest.param(
            {"do_resize": True, "size": {"shortest_edge": 150, "longest_edge": 999}},
            id="stretched to a multiple of 32 instead of padded",
        ),
    ],
)
def test_another_preparation_is_seen(run: Run, tmp_path: Path, wrong: dict[str, Any]) -> None:
    picture = run.golden.picture("1")
    prepared = prepare_in(tmp_path, picture, **wrong)(picture)
    assert run.golden.error("1", "input", prepared.inputs["pixel_values"][0]) > 1000


def test_a_picture_in_the_other_order_is_seen(run: Run) -> None:
    flipped = np.ascontiguousarray(run.golden.picture("1")[..., ::-1])
    prepared = run.segmenters["1"]._prepare(flipped)
    assert run.golden.error("1", "input", prepared.inputs["pixel_values"][0]) > 1000


RASTERISE = raster.rasterise
PROBABILITIES: dict[str, Any] = {"threshold": 0.5, "mean_of": lambda inside: inside}


def of_probabilities(maps: Any, size: Size, **rest: Any) -> raster.Raster:
    return RASTERISE((map_.sigmoid() for map_ in maps), size, **{**rest, **PROBABILITIES})


def probabilities_last(maps: Any, size: Size, *, padded: Any, kept: Any, **rest: Any) -> Any:
    shown = (raster._shown(map_, padded, kept).sigmoid() for map_ in maps)
    return RASTERISE(shown, size, **{**rest, **PROBABILITIES})


def enlarged_at_once(maps: Any, size: Size, *, padded: Any, **rest: Any) -> raster.Raster:
    """No resize to the padded size in between: padding is cut at a quarter of it."""
    kept = rest.pop("kept")
    return RASTERISE(maps, size, padded=None, kept=(-(-kept[0] // 4), -(-kept[1] // 4)), **rest)


def not_cut(maps: Any, size: Size, *, kept: Any, **rest: Any) -> raster.Raster:
    return RASTERISE(maps, size, kept=None, **rest)


def not_weighed(maps: Any, size: Size, **rest: Any) -> raster.Raster:
    found = RASTERISE(maps, size, **rest)
    return replace(found, means=np.ones_like(found.means))


def weighed_by_all_pixels(maps: Any, size: Size, **rest: Any) -> raster.Raster:
    found = RASTERISE(maps, size, **rest)
    share = found.masks.areas() / (size[0] * size[1])
    return replace(found, means=(found.means * share).astype(np.float32))


def enlarged_as_booleans(maps: Any, size: Size, **rest: Any) -> raster.Raster:
    """transformers' way: thresholded and weighed at 384×384, enlarged by nearest neighbour."""
    dense, means = [], []
    for map_ in maps:
        logits = interpolate(map_[None, None], size=(384, 384), mode="bilinear")[0, 0]
        on = logits > 0
        means.append(float(logits.sigmoid()[on].mean()) if on.any() else 0.0)
        dense.append(interpolate(on[None, None].float(), size=size)[0, 0].bool().numpy())
    pixels: NDArray[np.bool_] = np.stack(dense)
    return raster.Raster(Masks.from_dense(pixels), np.array(means, np.float32))


def at_another_level(maps: Any, size: Size, *, threshold: float, **rest: Any) -> raster.Raster:
    return RASTERISE(maps, size, threshold=0.5, **rest)


def sigmoids(logits: Tensor) -> decode.QueryChoice:
    return decode._pairs(logits.sigmoid()[:, :-1], decode.MOST)


def over_classes_alone(logits: Tensor) -> decode.QueryChoice:
    """`no object` cut off before the softmax instead of behind it."""
    return decode._pairs(logits[:, :-1].softmax(-1), decode.MOST)


DECODING = {
    "best class of each query": ("best_pairs", decode.best_of_each, 85),
    "sigmoid": ("best_pairs", sigmoids, 0),
    "softmax over the classes alone": ("best_pairs", over_classes_alone, 73),
    "50 pairs": ("best_pairs", partial(decode.best_pairs, most=50), 50),
    "not weighed by the mask": ("rasterise", not_weighed, 0),
    "weighed by all pixels": ("rasterise", weighed_by_all_pixels, 0),
    "probabilities resized": ("rasterise", of_probabilities, 0),
    "probabilities in the last resize": ("rasterise", probabilities_last, 96),
    "padding not cut": ("rasterise", not_cut, 0),
    "resized once": ("rasterise", enlarged_at_once, 0),
    "thresholded at a logit of 0.5": ("rasterise", at_another_level, 0),
    "as transformers decodes": ("rasterise", enlarged_as_booleans, 0),
}
"""What is decoded otherwise, and how many of 100 instances are still found, as measured."""


@pytest.mark.parametrize(("name", "wrong", "left"), DECODING.values(), ids=DECODING)
def test_another_decoding_is_seen(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any, left: int
) -> None:
    monkeypatch.setattr(decode, name, wrong)
    assert run.found_again("1", run.decoded("1")) == left


def test_a_threshold_leaves_out_what_is_below_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole score, class times mask, not of the class's alone."""
    recorded = run.golden.array("1", "scores")
    monkeypatch.setattr(run.segmenters["1"], "_threshold", 0.5)
    found = run.decoded("1")
    assert len(found) == (recorded > 0.5).sum() == run.found_again("1", found)
