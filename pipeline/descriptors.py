"""The three standard descriptors: taken, so that no file or socket of ours becomes one of them."""

from __future__ import annotations

import os


def taken() -> None:
    """Put `/dev/null` where standard input, output or error was closed before we began.

    The next file opened would get its number, and whatever is printed by anybody would go there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(nothing, True)
            if nothing != number:  # another thread was quicker
                os.close(nothing)
