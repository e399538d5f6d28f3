"""`PublishedLayout`: what a publisher calls the tensors of a network, from our names of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.models.shared.family import Shapes

Said = str | Callable[[re.Match[str]], str]
Rules = Sequence[tuple[str, Said]]
"""Patterns of the beginning of our names, and what stands there in the file."""


@dataclass(frozen=True, slots=True)
class PublishedLayout:
    """One publisher's names for the tensors of one family. Light: no torch."""

    publisher: str
    body_of: Callable[[Shapes], str | None]
    """The body in a file; None: another one."""
    rules: Rules
    """The first that fits is taken."""
    extra: str = "$^"
    """Names that are known and not needed: what only training uses, and constants."""

    def called(self, own: str) -> str:
        """What a tensor of ours is called.

        Raises:
            KeyError: no rule fits; there is none for a part of the network.
        """
        for pattern, said in self.rules:
            new, count = re.subn(f"^{pattern}", said, own)
            if count:
                return new
        raise KeyError(own)

    def is_extra(self, name: str) -> bool:
        """Whether a name of the file is known and not needed."""
        return re.match(self.extra, name) is not None


def layout_among(
    layouts: Sequence[PublishedLayout], heads: Sequence[str], shapes: Shapes
) -> PublishedLayout | None:
    """The first layout that has a family's heads in a file; None: it is of another family."""
    return next((one for one in layouts if all(one.called(head) in shapes for head in heads)), None)


def rows_of(layout: PublishedLayout | None, head: str, shapes: Shapes) -> int:
    """Rows of a head of ours in a file; 0: it has none."""
    shape = list(shapes[layout.called(head)]) if layout else []
    return shape[0] if shape else 0


def as_body(body_name: Callable[[str], str | None]) -> Callable[[re.Match[str]], str]:
    """What a rule says of a whole name of body or pyramid."""
    return lambda found: body_name(found[0]) or found[0]


def conv_and(norm: str, prefix: str) -> Callable[[re.Match[str]], str]:
    """A convolution (0) and its norm (1) as modules of their own names behind `prefix`."""

    def said(found: re.Match[str]) -> str:
        *numbers, which = found.groups()
        return prefix.format(*numbers) + ("conv." if which == "0" else f"{norm}.")

    return said


def in_row(prefix: str) -> Callable[[re.Match[str]], str]:
    """Convolutions (0) and norms (1), with their ReLUs counted through."""
    return lambda found: f"{prefix}{3 * int(found[1]) + int(found[2])}."
