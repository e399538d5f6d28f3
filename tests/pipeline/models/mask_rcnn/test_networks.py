import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn

from pipeline.errors import ConfigError
from pipeline.models.mask_rcnn.networks import build_network


def test_the_small_network_fits_thirty_megabytes_in_half_precision() -> None:
    network = build_network("maskrcnn_resnet18_fpn", num_classes=6)

    numbers = sum(tensor.numel() for tensor in network.state_dict().values())
    assert 14_000_000 < numbers < 14_900_000
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_resnet50_network_has_torchvisions_own_parameter_names_and_shapes() -> None:
    ours = build_network("maskrcnn_resnet50_fpn", num_classes=91).state_dict()
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()

    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_settings_of_the_network_can_be_overridden() -> None:
    network = build_network(
        "maskrcnn_resnet18_fpn", num_classes=3, min_size=96, max_size=160, box_score_thresh=0.2
    ).eval()

    assert network.transform.min_size == (96,)
    assert network.roi_heads.score_thresh == 0.2
    with torch.inference_mode():
        assert network([torch.rand(3, 64, 64)])[0]["masks"].shape[2:] == (64, 64)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="known networks are maskrcnn_resnet18_fpn, maskrcnn"):
        build_network("maskrcnn_vgg", num_classes=3)


def test_a_network_without_foreground_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least 2, got 1"):
        build_network("maskrcnn_resnet18_fpn", num_classes=1)
