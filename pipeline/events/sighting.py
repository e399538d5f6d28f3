"""What a track was like in one frame, and how well it was to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.formats import jsonl
from pipeline.masks import Masks
from pipeline.results import FrameResult


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A track in one frame; rounded as in a record, so that its JSON gives it back exactly."""

    frame: int
    pts_s: float
    """Seconds of the source's own clock, 6 decimals."""
    captured_at: str | None
    """UTC, of cameras."""
    score: float
    box: tuple[float, float, float, float]
    """xyxy in pixels of the source picture, 2 decimals."""
    mask: Masks
    """One row."""

    @staticmethod
    def all_of(result: FrameResult) -> list[Sighting]:
        """One for each instance, in their order."""
        instances, head = result.instances, jsonl.head(result)
        return [
            Sighting(
                frame=result.index,
                pts_s=head["pts_s"],
                captured_at=head["captured_at"],
                score=score,
                box=(box[0], box[1], box[2], box[3]),
                mask=instances.masks[row : row + 1],
            )
            for row, (score, box) in enumerate(
                zip(
                    jsonl.rounded(instances.scores, 4),
                    jsonl.rounded(instances.boxes, 2),
                    strict=True,
                )
            )
        ]

    def record(self, *, masks: bool = True) -> dict[str, Any]:
        """As JSON values; without its mask where nobody wants it, which takes longest."""
        told = {
            "frame": self.frame,
            "pts_s": self.pts_s,
            "captured_at": self.captured_at,
            "score": self.score,
            "box": list(self.box),
            "area": int(self.mask.areas()[0]),
        }
        return {**told, "mask": self.mask.to_coco()[0]} if masks else told

    @staticmethod
    def of(record: Mapping[str, Any]) -> Sighting:
        """What `record` gave."""
        x1, y1, x2, y2 = record["box"]
        height, width = record["mask"]["size"]
        return Sighting(
            frame=record["frame"],
            pts_s=record["pts_s"],
            captured_at=record["captured_at"],
            score=record["score"],
            box=(x1, y1, x2, y2),
            mask=Masks.from_coco([record["mask"]], (height, width)),
        )

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box, pixels, 2 decimals."""
        x1, y1, x2, y2 = self.box
        return round((x1 + x2) / 2, 2), round((y1 + y2) / 2, 2)
