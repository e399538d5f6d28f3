"""Which part of the picture counts."""

from __future__ import annotations

from typing import Protocol

from pipeline.frames import Frame
from pipeline.instances import Instances


class Region(Protocol):
    """Where in the picture to look, and what to leave out.

    Every method is called by the loop of the stream, in its thread, once for a frame, and keeps
    that stream waiting: none waits for anything, a frame takes milliseconds. `look` runs ahead of
    the other two by as many frames as are in flight. Nothing is remembered from frame to frame, so
    that a run that was killed and goes on says the same of each. What a method raises ends the
    stream as failed.
    """

    def look(self, frame: Frame) -> Frame:
        """The frame to segment: the same one, or a copy with pixels blanked."""

    def inside(self, instances: Instances) -> Instances:
        """The instances that lie where is to be looked; the others are no detections."""

    def keep(self, instances: Instances) -> Instances:
        """The instances to publish, of those that were followed."""
