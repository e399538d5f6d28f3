"""What `--model family:reference` leads to: a folder, or a name on the hub and its cache."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from pipeline import models
from pipeline.errors import ConfigError, MaskstreamError, ModelError
from pipeline.models import naming
from pipeline.models.queries import reference
from pipeline.models.queries.labels import classes_of
from pipeline.models.shared.labels import COCO_LABELS

THINGS = list(COCO_LABELS.values())


def refused(name: str, weights: str | None = None) -> str:
    with pytest.raises(MaskstreamError) as caught:
        models.fetch_weights(*models.choose(name, weights))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_reference_is_what_weights_are(folders: dict[str, Path]) -> None:
    folder = str(folders["eomt"])
    assert models.choose(f"eomt:{folder}") == ("eomt", folder)
    assert models.choose("eomt", folder) == ("eomt", folder)
    assert models.choose(None, folder) == ("eomt", folder)
    assert models.choose("rfdetr-seg-medium") == (
        "rfdetr-seg-medium",
        "Roboflow/rf-detr-seg-medium",
    )
    assert models.choose("mask2former:facebook/mask2former-swin-tiny-coco-instance") == (
        "mask2former",
        "facebook/mask2former-swin-tiny-coco-instance",
    )


def test_a_folder_is_named_by_its_whole_path_as_workers_stand_elsewhere(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders["eomt"].parent)
    assert models.choose("eomt:eomt") == ("eomt", str(folders["eomt"]))


def test_labels_are_known_without_the_weights_and_not_before_a_name_is_fetched(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "config-alone"
    alone.mkdir()
    shutil.copy(folders["rfdetr"] / "config.json", alone)
    assert models.model_labels(f"rfdetr:{alone}") == {1: "leaf", 2: "stone", 4: "shell", 5: "cone"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert models.model_labels("rfdetr:nobody/has-fetched-this") == {}


def test_a_name_in_the_cache_needs_no_network(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "models--somebody--small"
    shutil.copytree(folders["eomt"], repo / "snapshots" / ("a" * 40))
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)

    def offline(*args: object, **options: object) -> str:
        assert options["local_files_only"] is True
        return str(repo / "snapshots" / ("a" * 40))

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    file = models.fetch_weights("eomt", "somebody/small")
    assert file is not None
    assert file.sha256 == reference.digest_of(folders["eomt"], "x")  # content, wherever it lies
    assert models.local_weights("somebody/small", "eomt") is None  # of no file of the user's


def test_a_name_that_is_not_here_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object, local_files_only: bool = False, **__: object) -> str:
        raise OSError("Got: ConnectError: Name or service not known\nand a page more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert refused("eomt:nobody/nothing") == (
        f"weights nobody/nothing: not in the cache {tmp_path}, and cannot be fetched: Got: "
        "ConnectError: Name or service not known; check the name and the network, or give a folder"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refused("eomt:nobody/nothing") == (
        f"weights nobody/nothing: not in the cache {tmp_path}, and HF_HUB_OFFLINE forbids to fetch "
        "them; fetch them once without it, or give a folder"
    )


def test_what_is_no_reference_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    eomt = folders["eomt"]
    assert refused("mask2former") == (
        "model mask2former is to be told which: --model mask2former:REFERENCE, a folder that "
        "transformers has saved, or a name on the hub such as OWNER/NAME"
    )
    assert refused(f"mask2former:{eomt}") == (
        f"weights {eomt}: not of mask2former: config.json says eomt; use --model eomt:{eomt}"
    )
    assert refused(f"eomt:{eomt}", "other/name") == (
        f"model 'eomt:{eomt}' says which weights, and --weights 'other/name' others; leave one out"
    )
    assert "stands alone; give a file with --weights" in refused("blob:x")
    assert "no such folder; expected a folder" in refused("eomt:nowhere")
    assert "is no folder; expected a folder" in refused(f"eomt:{eomt / 'config.json'}")
    assert refused(f"eomt:{tmp_path}") == (
        f"weights {tmp_path}: cannot read config.json in {tmp_path}: No such file or directory"
    )
    with pytest.raises(ConfigError, match=r"no module 'eomd' .*, did you mean 'eomt'\?$"):
        models.choose("eomd:x")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "config.json is no JSON"),
        ("[]", "config.json is no JSON object"),
        ('{"model_type": "bert"}', "config.json says 'bert', which is no model of instances known"),
        ('{"model_type": "eomt", "id2label": [1]}', "id2label must be names by number"),
        ('{"model_type": "eomt", "id2label": {"0": "N/A"}}', "id2label names no category"),
        ('{"model_type": "eomt"}', r"no .safetensors file in .*; .bin files are pickles, which"),
    ],
)
def test_a_damaged_folder_is_told_by_what_is_wrong(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    assert re.search(said, refused(f"eomt:{tmp_path}"))


def test_tensors_that_are_missing_or_cut_off_are_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folders["eomt"], broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["class_predictor.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors are missing: class_predictor\.weight$"):
        models.load_segmenter(f"eomt:{broken}", device="cpu")
    whole = (folders["eomt"] / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[:2000])
    with pytest.raises(ModelError, match="transformers cannot load it: "):
        models.load_segmenter(f"eomt:{broken}", device="cpu")


def test_oneformer_without_words_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    shutil.copytree(folders["oneformer"], silent)
    (silent / "vocab.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json or vocab\.json"):
        models.load_segmenter(f"oneformer:{silent}", device="cpu")


def test_a_missing_extra_is_named_where_a_plan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "find_spec", lambda module: None)
    assert refused("rfdetr-seg-nano") == (
        "model rfdetr-seg-nano needs transformers, which is not installed: "
        "pip install 'maskstream[transformers]'"
    )


def of(names: list[str]) -> dict[str, object]:
    return {"id2label": {str(i): name for i, name in enumerate(names)}}


def test_coco_s_names_get_coco_s_ids_and_its_stuff_is_left_out() -> None:
    older = ["motorbike" if name == "motorcycle" else name for name in THINGS]
    for names in (THINGS, older, [*THINGS, *(f"stuff {i}" for i in range(53))]):
        classes = classes_of(of(names), "x")
        assert classes.labels == COCO_LABELS
        assert [classes.ids[row] for row in (0, 11, 12, 79)] == [1, 13, 14, 90]
        assert len(classes.ids) == 80


def test_rows_that_begin_with_a_gap_keep_their_numbers() -> None:
    coco = {"id2label": {"0": "N/A", **{str(i): name for i, name in COCO_LABELS.items()}}}
    classes = classes_of(coco, "x")
    assert classes.ids == {i: i for i in COCO_LABELS}
    assert classes_of(of(["N/A", "leaf", "stone"]), "x").ids == {1: 1, 2: 2}
    assert classes_of(of(["leaf", "stone"]), "x").ids == {0: 1, 1: 2}
    assert classes_of({}, "x").labels == {1: "LABEL_0", 2: "LABEL_1"}


def test_things_of_cityscapes_and_ade_are_told_from_stuff() -> None:
    assert list(classes_of(of([f"c{i}" for i in range(19)]), "x").ids) == list(range(11, 19))
    ade = classes_of(of([f"a{i}" for i in range(150)]), "x")
    assert len(ade.ids) == 100
    assert ade.labels[7] == "a7"  # bed


def test_the_digest_is_that_of_names_and_bytes(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["eomt"], copy)
    digest = reference.digest_of(folders["eomt"], "x")
    assert reference.digest_of(copy, "x") == digest
    (copy / "README.md").write_text("nothing results depend on")
    assert reference.digest_of(copy, "x") == digest
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(
        json.dumps({**settings, "image_mean": [0, 0, 0]})
    )
    assert reference.digest_of(copy, "x") != digest
