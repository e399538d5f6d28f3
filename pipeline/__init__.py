"""What happens to a frame: sources, segmentation, tracking, sinks and the loop that joins them.

The package `maskstream` is its face. Importing this one stays light: no torch, cv2, av or ray until
something needs them.
"""

from __future__ import annotations

from pipeline._version import __version__

__all__ = ["__version__", "track"]


def __getattr__(name: str) -> object:
    """Load `track` at first use, so that importing the package stays light."""
    if name == "track":  # where programs found it before there was a face
        from pipeline.runner import track

        return track
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
