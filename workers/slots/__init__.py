"""The places of workers, and the lives that fill them one after another. No Ray here.

A slot starts a worker, asks it how it is, and puts a fresh one in its place when it dies, freezes
or asks for it; what dead lives have counted is added to what the living one counts. `step` looks
once and never waits: the supervisor calls it again and again.
"""

from workers.slots.handle import Remote
from workers.slots.segment import SegmentSlot
from workers.slots.stream import StreamSlot

__all__ = ["Remote", "SegmentSlot", "StreamSlot"]
