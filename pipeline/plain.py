"""Text for people: what came from outside in it cannot move the cursor, forge a line or turn it."""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: escape sequences, line breaks, bells
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of what follows
    "\u200b-\u200d\u2060-\u2064\ufeff"  # have no width
    "\u2028\u2029"  # break lines
    "\ud800-\udfff"  # bytes of a name that is no text; terminals and files refuse them
    "\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    r"""`text` as one line that shows all there is in it: `\x1b` for the character of that number.

    For every way out to a terminal or a log: messages, progress, log records, metrics.
    """
    return _UNSEEN.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
