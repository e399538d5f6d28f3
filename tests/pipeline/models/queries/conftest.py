"""Tiny models of transformers with random weights, saved as a user's folders are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

LABELS = {0: "leaf", 1: "stone", 2: "N/A", 3: "shell", 4: "cone"}
SIZES = {"size": {"shortest_edge": 64, "longest_edge": 96}}


def _swin() -> object:
    from transformers import SwinConfig

    return SwinConfig(
        image_size=32, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip


def _small(**more: object) -> dict[str, object]:
    common = {
        "backbone_config": _swin(), "id2label": LABELS, "num_queries": 12, "hidden_dim": 32,
        "encoder_feedforward_dim": 16, "dim_feedforward": 16, "encoder_layers": 1,
        "decoder_layers": 2, "num_attention_heads": 2,
    }  # fmt: skip
    return {**common, **more}


def _mask2former() -> tuple[object, object]:
    import transformers as library

    config = library.Mask2FormerConfig(**_small(feature_size=32, mask_feature_size=32))
    network = library.Mask2FormerForUniversalSegmentation(config)
    return network, library.Mask2FormerImageProcessor(**SIZES, size_divisor=32)


def _maskformer() -> tuple[object, object]:
    import transformers as library

    decoder = library.DetrConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=12,
    )  # fmt: skip
    config = library.MaskFormerConfig(
        backbone_config=_swin(), fpn_feature_size=32, mask_feature_size=32,
        decoder_config=decoder, id2label=LABELS,
    )  # fmt: skip
    network = library.MaskFormerForInstanceSegmentation(config)
    return network, library.MaskFormerImageProcessor(**SIZES, size_divisor=32)


def _oneformer() -> tuple[object, object]:
    import transformers as library

    config = library.OneFormerConfig(
        **_small(
            mask_dim=32, conv_dim=32, text_encoder_width=16, text_encoder_context_length=7,
            text_encoder_num_layers=1, text_encoder_vocab_size=64, text_encoder_n_ctx=4,
            text_encoder_proj_layers=1, query_dec_layers=1, task_seq_len=7, max_seq_len=7,
            is_training=False,
        )
    )  # fmt: skip
    network = library.OneFormerForUniversalSegmentation(config)
    return network, library.MaskFormerImageProcessor(**SIZES)


def _eomt() -> tuple[object, object]:
    import transformers as library

    config = library.EomtConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=8,
        num_blocks=1, num_queries=12, num_upscale_blocks=1, num_register_tokens=1, id2label=LABELS,
    )  # fmt: skip
    sides = {"shortest_edge": 64, "longest_edge": 64}
    return library.EomtForUniversalSegmentation(config), library.EomtImageProcessor(size=sides)


def _rfdetr() -> tuple[object, object]:
    import transformers as library

    body = {
        "model_type": "rf_detr_dinov2", "hidden_size": 16, "num_hidden_layers": 4,
        "num_attention_heads": 2, "image_size": 56, "patch_size": 14, "num_windows": 2,
        "out_features": ["stage2", "stage4"], "num_register_tokens": 0,
    }  # fmt: skip
    config = library.RfDetrConfig(
        backbone_config=body, d_model=32, decoder_layers=2, num_queries=12, group_detr=1,
        decoder_self_attention_heads=2, decoder_cross_attention_heads=2, decoder_ffn_dim=16,
        c2f_num_blocks=1, id2label=LABELS,
    )  # fmt: skip
    processor = library.RfDetrImageProcessor(size={"height": 56, "width": 56}, do_pad=False)
    return library.RfDetrForInstanceSegmentation(config), processor


KINDS: dict[str, Callable[[], tuple[object, object]]] = {
    "rfdetr": _rfdetr,
    "eomt": _eomt,
    "mask2former": _mask2former,
    "maskformer": _maskformer,
    "oneformer": _oneformer,
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder a family, as `save_pretrained` leaves it."""
    root = tmp_path_factory.mktemp("tiny")
    made = {}
    state = torch.get_rng_state()
    for name, make in KINDS.items():
        torch.manual_seed(7)
        network, processor = make()
        made[name] = root / name
        for parameter in network.parameters():  # type: ignore[attr-defined]
            if parameter.ndim == 1:  # biases of 0 would hide an order of classes
                torch.nn.init.normal_(parameter, 0.1, 0.1)
            else:  # so that masks are neither empty nor full
                parameter.data.mul_(2)
        network.eval().save_pretrained(made[name])  # type: ignore[attr-defined]
        processor.save_pretrained(made[name])  # type: ignore[attr-defined]
    torch.set_rng_state(state)
    _tokenizer(made["oneformer"])
    return made


def _tokenizer(folder: Path) -> None:
    """CLIP's, with the words of the task alone."""
    words = ["<|startoftext|>", "<|endoftext|>", "the</w>", "task</w>", "is</w>", "instance</w>"]
    letters = sorted(set("thetaskisinstance"))
    vocabulary = [*words, *letters, *(f"{letter}</w>" for letter in letters)]
    merges = ["#version: 0.2"]
    for word in ("instance", "the", "task", "is"):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts[:2] = [parts[0] + parts[1]]
            vocabulary.append(parts[0])
    table = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    (folder / "vocab.json").write_text(json.dumps(table))
    (folder / "merges.txt").write_text("\n".join(dict.fromkeys(merges)) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    """150x210 BGR: coloured discs on noise."""
    random = np.random.default_rng(3)
    image = random.integers(0, 80, (150, 210, 3), np.uint8)
    y, x = np.mgrid[:150, :210]
    for cx, cy, radius, colour in ((50, 60, 30, (0, 0, 255)), (150, 90, 40, (255, 80, 0))):
        image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = colour
    return image
