"""The training loop: one network, one optimiser, an averaged copy, checkpoints to go on from."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from pipeline.errors import ConfigError
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.shared.devices import place
from pipeline.sources.street import LABELS
from pipeline.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from pipeline.training.data import FrameStore, TrainingPicture, draw_sample
from pipeline.training.roi import LookupRoIAlign
from pipeline.training.settings import TrainSettings

log = logging.getLogger(__name__)

AVERAGE_EVERY = 4
"""Steps between two updates of the average; each costs a pass over all weights."""
LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")


class Trainer:
    """A run that can stop and go on: everything that changes is in its checkpoint."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings = settings
        self.step = 0
        self.seconds = 0.0
        """Time spent in steps, over all starts of this run."""
        optimiser = settings.optimiser
        torch.manual_seed(optimiser.seed)
        torch.set_num_threads(optimiser.threads)
        self._device = place(settings.device, "fp32").device
        self._network = network_to_train(settings).to(self._device)
        self._network.to(memory_format=torch.channels_last)
        self.average = Average(self._network, optimiser.ema_decay)
        decayed = [p for p in self._network.parameters() if p.ndim > 1]
        plain = [p for p in self._network.parameters() if p.ndim <= 1]
        self._optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": optimiser.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=optimiser.learning_rate,
            fused=True,
        )
        self._low_precision = optimiser.precision == "bf16" or (
            optimiser.precision == "auto" and quick_bf16(self._device)
        )
        self._output = Path(settings.output)
        self._restore()

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run is kept."""
        return self._output / CHECKPOINT

    def run(
        self, store: FrameStore, report: Callable[[dict[str, float]], None] | None = None
    ) -> None:
        """Train on the frames of a store to the last step."""
        self._output.mkdir(parents=True, exist_ok=True)
        total = self.settings.optimiser.steps
        sums: dict[str, float] = dict.fromkeys(LOSSES, 0.0)
        while self.step < total:
            began = time.monotonic()
            losses = self._one_step(store)
            self.seconds += time.monotonic() - began
            for key, value in losses.items():
                sums[key] += value / self.settings.log_every
            if self.step % self.settings.log_every == 0:
                self._log(sums, report)
                sums = dict.fromkeys(LOSSES, 0.0)
            if self.step % self.settings.checkpoint_every == 0 or self.step == total:
                self._save()

    def _one_step(self, store: FrameStore) -> dict[str, float]:
        optimiser = self.settings.optimiser
        rng = np.random.default_rng([optimiser.seed, self.step])  # the same after a restart
        if not store.complete:
            store.reload()
        samples = [draw_sample(store, self.settings.data, rng) for _ in range(optimiser.batch)]
        images, targets = to_tensors(samples, self._device)
        rate = learning_rate(self.step, self.settings)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._low_precision):
            losses = self._network(images, targets)
        loss: Tensor = sum(losses.values(), torch.zeros((), device=self._device))
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), optimiser.clip_norm)
        if torch.isfinite(norm):  # a step that blew up is left out, not learned from
            self._optimiser.step()
            if self.step % AVERAGE_EVERY == 0:
                self.average.update(self._network, self.step)
        self.step += 1
        return {key: float(value.detach()) for key, value in losses.items()}

    def _log(
        self, losses: dict[str, float], report: Callable[[dict[str, float]], None] | None
    ) -> None:
        row = {
            "step": float(self.step),
            "seconds": round(self.seconds, 1),
            "learning_rate": learning_rate(self.step - 1, self.settings),
            "loss": sum(losses.values()),
            **losses,
        }
        path = self._output / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="", encoding="ascii") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(row)
            writer.writerow([f"{value:.6g}" for value in row.values()])
        if report is not None:
            report(row)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "network": self._network.state_dict(),
            "average": self.average.state,
            "optimiser": self._optimiser.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        save_checkpoint(self.checkpoint, state)

    def _restore(self) -> None:
        state = load_checkpoint(self.checkpoint, self._network.state_dict())
        if state is None:
            return
        try:
            self._network.load_state_dict(state["network"])
            self._optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["torch_rng"])
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise ConfigError(
                f"{self.checkpoint}: is no checkpoint of this training; name another --output"
            ) from error
        self.average.state = {k: v.to(self._device) for k, v in state["average"].items()}
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        log.info("going on from step %d of %s", self.step, self.checkpoint)


class Average:
    """An exponential moving average of everything in a state dict, quick at first."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network as it is after `step`."""
        keep = min(self._decay, (1 + step) / (10 + step)) ** AVERAGE_EVERY
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - keep)
            else:
                self.state[key].copy_(value)


def network_to_train(settings: TrainSettings) -> MaskRCNN:
    """The network with few proposals a picture and no resizing of its own."""
    model = settings.model
    network = build_network(
        model.name,
        num_classes=len(LABELS) + 1,
        rpn_pre_nms_top_n_train=3 * model.rpn_proposals,
        rpn_post_nms_top_n_train=model.rpn_proposals,
        rpn_batch_size_per_image=model.rpn_batch,
        box_batch_size_per_image=model.box_batch,
        box_positive_fraction=model.box_positives,
    )
    network.transform._skip_resize = True  # crops come in the size they are meant to have
    network.roi_heads.box_roi_pool = LookupRoIAlign(7)
    network.roi_heads.mask_roi_pool = LookupRoIAlign(14)
    return network.train()


def to_tensors(
    samples: list[TrainingPicture], device: torch.device
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Samples as torchvision's detection networks take them: RGB in [0, 1], dense masks."""
    images, targets = [], []
    for sample in samples:
        rgb = np.ascontiguousarray(sample.image[..., ::-1].transpose(2, 0, 1))
        images.append(torch.from_numpy(rgb).to(device).float().div_(255))
        masks = sample.owner[None] == sample.numbers[:, None, None].astype(np.uint8)
        targets.append(
            {
                "boxes": torch.from_numpy(sample.boxes).to(device),
                "labels": torch.from_numpy(sample.class_ids).to(device),
                "masks": torch.from_numpy(masks.astype(np.uint8)).to(device),
            }
        )
    return images, targets


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    o = settings.optimiser
    if step < o.warmup_steps:
        return o.learning_rate * (step + 1) / o.warmup_steps
    done = (step - o.warmup_steps) / max(1, o.steps - o.warmup_steps)
    return o.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def quick_bf16(device: torch.device) -> bool:
    """Whether bf16 products are done in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    flags = Path("/proc/cpuinfo")
    text = flags.read_text("ascii", "replace") if flags.exists() else ""
    return "amx_bf16" in text or "avx512_bf16" in text
