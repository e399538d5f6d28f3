"""The playlist of HLS (RFC 8216) as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.segments import VideoSegment

_AT_LEAST = 3
"""A player begins three segments before the end."""


def playlist(
    whole: Sequence[VideoSegment], end: int, *, length_s: float, window: int | None, over: bool
) -> str:
    """What a player is told.

    Args:
        whole: the segments there are, oldest first.
        end: ticks at which the last one ends.
        length_s: of a segment, as it is meant to be.
        window: ticks of video it tells of; None: of all there is, and none will go.
        over: there will be no more.
    """
    ends = [following.ticks for following in whole[1:]] + [end]
    spans = [until - segment.ticks for segment, until in zip(whole, ends, strict=True)]
    longest = max(math.ceil(length_s), *(round(span / TIMESCALE) for span in spans))
    first = 0
    if window is not None:
        while len(whole) - first > _AT_LEAST and end - whole[first + 1].ticks >= window:
            first += 1
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{longest}",
        f"#EXT-X-MEDIA-SEQUENCE:{whole[first].number}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{whole[first].breaks}",
        *(["#EXT-X-PLAYLIST-TYPE:EVENT"] if window is None else []),
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    before: VideoSegment | None = None
    for segment, span in zip(whole[first:], spans[first:], strict=True):
        if before is not None and segment.breaks != before.breaks:
            lines.append("#EXT-X-DISCONTINUITY")
        if before is None or segment.init != before.init:
            lines.append(f'#EXT-X-MAP:URI="{segment.init}"')
        if segment.start is not None:
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{segment.start}")
        lines += [f"#EXTINF:{span / TIMESCALE:.5f},", segment.file]
        before = segment
    if over:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"
