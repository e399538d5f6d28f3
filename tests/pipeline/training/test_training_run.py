"""A training run: stops and goes on, leaves weights anyone can load, and is judged fairly."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.models import WeightsFile, local_weights, model_labels
from pipeline.models.mask_rcnn.weights import load_network
from pipeline.models.shared.files import read_weights
from pipeline.sources.street import LABELS
from pipeline.sources.street.scene import StreetScene
from pipeline.training import train
from pipeline.training.data import FrameStore
from pipeline.training.export import export_weights
from pipeline.training.loop import Average, Trainer, learning_rate
from pipeline.training.measure import mask_ap
from pipeline.training.settings import TrainSettings


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def settings(folder: Path, *, steps: int) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "data": {
                "first_seed": 40, "seeds": 1, "frames_per_seed": 2, "height": 192, "width": 320,
                "crop_height": 96, "crop_width": 96, "cache": str(folder / "cache"),
            },
            "model": {"rpn_proposals": 10, "rpn_batch": 16, "box_batch": 8},
            "optimiser": {"steps": steps, "batch": 1, "warmup_steps": 1, "precision": "fp32"},
            "check": {"first_seed": 41, "seeds": 1, "frames_per_seed": 1},
            "output": str(folder / f"run-{steps}"),
            "checkpoint_every": 1,
            "log_every": 1,
        }
    )  # fmt: skip


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = settings(tmp_path, steps=2)
    store = FrameStore(whole.data)
    store.render()
    straight = Trainer(whole.model_copy(update={"checkpoint_every": 2}))
    straight.run(store)
    broken = whole.model_copy(update={"output": str(tmp_path / "broken")})

    def power_cut(row: dict[str, float]) -> None:
        if row["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(broken).run(store, power_cut)
    rows: list[float] = []
    resumed = Trainer(broken)
    resumed.run(store, lambda row: rows.append(row["step"]))
    assert rows == [2]
    for key, value in straight.average.state.items():
        assert torch.equal(resumed.average.state[key], value), key


def test_training_leaves_weights_a_log_and_figures(tmp_path: Path) -> None:
    run = settings(tmp_path, steps=1)
    lines: list[str] = []
    path = train(run, output=tmp_path / "here", report=lines.append)
    assert path == tmp_path / "here" / "weights.safetensors"
    head = (tmp_path / "here" / "log.csv").read_text().splitlines()[0]
    assert head.startswith("step,seconds,learning_rate,loss,loss_objectness")
    assert lines[0].startswith("step 1 of 1, loss ")
    figures = json.loads((tmp_path / "here" / "figures.json").read_text())
    assert lines[-1] == f"mask AP on unseen streets: {figures['AP']:.3f}"
    file = read_weights(str(path))
    assert dict(model_labels("maskrcnn_resnet18_fpn", file)) == dict(LABELS)
    network = load_network("maskrcnn_resnet18_fpn", file)
    assert (network.transform.min_size, network.transform.max_size) == ((384,), 640)


def test_exported_weights_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {"a.weight": torch.tensor([0.5]), "a.num_batches_tracked": torch.tensor(3)}
    export_weights(tensors, path, TrainSettings(), steps=12)
    with safe_open(path, "pt") as file:
        assert list(file.keys()) == ["a.weight"]
        assert file.get_tensor("a.weight").dtype is torch.float16
        metadata = file.metadata()
    assert metadata["model"] == "maskrcnn_resnet18_fpn"
    assert json.loads(metadata["labels"])["1"] == "person"
    assert (metadata["min_size"], metadata["max_size"], metadata["steps"]) == ("384", "640", "12")


def test_weights_that_diverged_are_not_exported(tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([1e6])}
    with pytest.raises(ModelError, match="a does not fit fp16; the training diverged"):
        export_weights(tensors, tmp_path / "w.safetensors", TrainSettings(), steps=1)


def test_the_rate_warms_up_and_falls_to_a_hundredth() -> None:
    run = TrainSettings.model_validate(
        {"optimiser": {"steps": 110, "warmup_steps": 10, "learning_rate": 0.5}}
    )
    assert learning_rate(0, run) == pytest.approx(0.05)
    assert learning_rate(10, run) == pytest.approx(0.5)
    assert learning_rate(60, run) == pytest.approx(0.5 * 0.505)
    assert learning_rate(110, run) == pytest.approx(0.005)


def test_the_average_follows_what_it_averages() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    average = Average(layer, decay=0.5)
    nn.init.constant_(layer.weight, 2.0)
    average.update(layer, step=1000)
    assert average.state["weight"].item() == pytest.approx(2.0 - 0.5**4)


class Oracle(nn.Module):
    """Answers with the truth, from which it leaves out the first `missing` instances."""

    def __init__(self, truths: list[Instances], missing: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self._truths = iter(truths)
        self._missing = missing

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        truth = next(self._truths)
        kept = truth[slice(self._missing, None)]
        return [
            {
                "masks": torch.from_numpy(kept.masks.dense()[:, None].astype(np.float32)),
                "labels": torch.from_numpy(kept.class_ids),
                "scores": torch.from_numpy(kept.scores),
            }
        ]


def test_answering_the_truth_scores_one_and_missing_half_of_a_class_scores_less() -> None:
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 2:20, 2:20] = True
    masks[1, 22:38, 22:38] = True
    truth = Instances(
        np.array([[2, 2, 20, 20], [22, 22, 38, 38]], np.float32),
        np.ones(2, np.float32),
        np.array([3, 3], np.int64),
        Masks.from_dense(masks),
    )
    case = (np.zeros((40, 40, 3), np.uint8), truth)
    perfect = mask_ap(Oracle([truth], 0), [case])  # type: ignore[arg-type]
    assert perfect["AP"] == perfect["car"] == pytest.approx(1.0)
    half = mask_ap(Oracle([truth], 1), [case])  # type: ignore[arg-type]
    assert half["AP"] == pytest.approx(51 / 101)  # 101 recall points, those up to 0.5 reached
    nothing = mask_ap(Oracle([truth], 2), [case])  # type: ignore[arg-type]
    assert nothing["AP"] == nothing["car"] == 0.0
    assert "person" not in nothing, "JSON has no NaN"


def test_the_bundled_weights_segment_a_street_they_never_saw() -> None:
    file: WeightsFile = local_weights("demo")
    assert len(file.data) <= 30_000_000
    assert dict(file.labels or {}) == dict(LABELS)
    network = load_network("maskrcnn_resnet18_fpn", file)
    cases = [scene.frame(i) for scene in (StreetScene(51), StreetScene(52)) for i in (0, 75)]
    assert mask_ap(network, cases)["AP"] >= 0.6
