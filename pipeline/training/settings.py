"""The settings of a training run, read from YAML; unknown keys are refused by name."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config import read, validated
from pipeline.config.section import LocalPath


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Which streets are rendered to learn from, and how they are varied."""

    first_seed: int = Field(10_000, ge=0, description="seed of the first street")
    seeds: int = Field(400, ge=1, description="number of streets")
    frames_per_seed: int = Field(10, ge=1, description="frames taken from each street")
    frame_step: int = Field(97, ge=1, description="frames between two taken ones")
    height: int = Field(384, ge=128, le=8192, description="height of the rendered picture")
    width: int = Field(640, ge=128, le=8192, description="width of the rendered picture")
    crop_height: int = Field(256, ge=64, le=8192, description="height of a training crop")
    crop_width: int = Field(384, ge=64, le=8192, description="width of a training crop")
    min_scale: float = Field(0.75, gt=0.1, le=8, description="smallest resizing before the crop")
    max_scale: float = Field(1.15, gt=0.1, le=8, description="largest resizing before the crop")
    colour_jitter: float = Field(0.12, ge=0, lt=1, description="spread of gain and brightness")
    cache: LocalPath = Field("out/street-cache", description="folder of the rendered frames")


class NetworkSettings(_Section):
    """The network and how much of it each training step looks at."""

    name: str = "maskrcnn_resnet18_fpn"
    min_size: int = Field(384, ge=64, description="inference size written into the weights")
    max_size: int = Field(640, ge=64, description="inference size written into the weights")
    rpn_proposals: int = Field(200, ge=10, description="proposals a picture during training")
    rpn_batch: int = Field(128, ge=8, description="anchors a picture in the proposal loss")
    box_batch: int = Field(64, ge=4, description="boxes a picture in the box loss")
    box_positives: float = Field(0.3, gt=0, lt=1, description="largest share of positives")


class OptimiserSettings(_Section):
    """Steps, rates and averaging."""

    steps: int = Field(5000, ge=1)
    batch: int = Field(4, ge=1)
    learning_rate: float = Field(6e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    warmup_steps: int = Field(200, ge=0)
    clip_norm: float = Field(5.0, gt=0)
    ema_decay: float = Field(0.998, ge=0, lt=1)
    precision: str = Field("auto", pattern="^(auto|fp32|bf16)$")
    threads: int = Field(1, ge=1, le=1024)
    seed: int = 0


class CheckSettings(_Section):
    """How the result is measured: streets that were never trained on."""

    first_seed: int = Field(900_000, ge=0)
    seeds: int = Field(12, ge=1)
    frames_per_seed: int = Field(4, ge=1)
    frame_step: int = Field(61, ge=1)


class TrainSettings(_Section):
    """One training run."""

    data: DataSettings = DataSettings()
    model: NetworkSettings = NetworkSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    check: CheckSettings = CheckSettings()
    output: LocalPath = Field("out/train", description="folder of checkpoints, log and weights")
    checkpoint_every: int = Field(250, ge=1)
    log_every: int = Field(20, ge=1)
    device: str = Field("cpu", pattern="^(auto|cpu|cuda(:[0-9]{1,3})?)$")

    @staticmethod
    def read(path: Path) -> TrainSettings:
        """Read a YAML file.

        Raises:
            ConfigError: the file cannot be read, is no YAML mapping, or a key or value is wrong.
        """
        return validated(TrainSettings, read(path, such_as="data"), origin=str(path))
