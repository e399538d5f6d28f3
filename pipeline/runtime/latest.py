"""`Latest`: what is shown of a stream while it runs, its picture as small as it was asked for.

The picture is drawn and encoded where the stream runs, and only when somebody asks: between
processes go some ten kilobytes instead of megabytes, and nobody pays for what nobody looks at.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.picture import Picture
from pipeline.results import FrameResult


@dataclass(frozen=True, slots=True)
class Viewing:
    """How a picture is wanted."""

    annotated: bool = True
    """With the instances drawn on it."""
    width: int | None = None
    """Pixels at most; None: as wide as the source's."""
    quality: int = 80
    """Of JPEG, 1 to 100."""
    newer_than: str | None = None
    """The key of a result that is there already: its picture is not made again."""


@dataclass(frozen=True, slots=True, eq=False)
class Latest:
    """The result a stream has published last."""

    result: FrameResult
    """Without its pixels."""
    jpeg: bytes | None = None
    """Its picture; None: not asked for, or there already."""


def seen(result: FrameResult, picture: Picture, look: Viewing | None) -> Latest:
    """What somebody gets to see who looks like this; from any thread.

    Raises:
        ValueError: the picture has no JPEG, which holds at most 65,500 pixels a side.
    """
    if look is None or look.newer_than == result.key:
        return Latest(result)
    from pipeline.render.jpeg import jpeg  # OpenCV: who only starts a run does without it

    image = picture.annotated() if look.annotated else picture.image
    return Latest(result, jpeg(image, width=look.width, quality=look.quality))
