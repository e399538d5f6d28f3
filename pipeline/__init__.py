"""What happens to a frame: sources, segmentation, tracking, sinks and the loop that joins them.

`from pipeline import track` is the Python API. Importing this package stays light: no torch, cv2,
av or ray until something needs them.
"""

from __future__ import annotations

from typing import Any

from pipeline._version import __version__

__all__ = ["__version__", "track"]


def __getattr__(name: str) -> Any:
    """Load `track` at first use, so that importing the package stays light."""
    if name == "track":
        from pipeline.runner import track

        return track
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
