"""Text for people: what came from outside in it cannot move the cursor, forge a line or turn it."""

from __future__ import annotations

from unicodedata import category

_UNSEEN = {
    "Cc",  # escape sequences, line breaks, bells
    "Cf",  # turn the direction of what follows, have no width, are tags
    "Cs",  # bytes of a name that is no text; terminals and files refuse them
    "Zl",
    "Zp",
}
_FILLERS = frozenset("\u034f\u115f\u1160\u3164\uffa0")
"""Letters and marks that nobody sees."""


def plain(text: str) -> str:
    r"""`text` as one line that shows all there is in it: `\x1b` for the character of that number.

    For every way out to a terminal or a log: messages, progress, log records, metrics.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(one) if _is_unseen(one) else one for one in text)


def _is_unseen(character: str) -> bool:
    return category(character) in _UNSEEN or character in _FILLERS


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
