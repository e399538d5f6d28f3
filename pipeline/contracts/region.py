"""Which part of the picture counts."""

from __future__ import annotations

from typing import Protocol

from pipeline.frames import Frame
from pipeline.instances import Instances


class Region(Protocol):
    """Where in the picture to look, and what to leave out; asked by the loop, in its thread."""

    def look(self, frame: Frame) -> Frame:
        """The frame to segment: the same one, or a copy with pixels blanked."""

    def inside(self, instances: Instances) -> Instances:
        """The instances that lie where is to be looked; the others are no detections."""

    def keep(self, instances: Instances) -> Instances:
        """The instances to publish, of those that were followed."""
