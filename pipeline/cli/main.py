"""The `maskstream` command: errors as one line, exit codes as documented.

0 complete or drained; 2 bad input or configuration, one unreadable source included; 1 the rest.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from pipeline.cli.hiding import arguments
from pipeline.errors import MaskstreamError
from pipeline.secrets import mask_url, scrub


def main() -> NoReturn:
    """Run the command line; never shows a traceback for a user's mistake."""
    given = arguments()
    from pipeline.cli.app import app  # takes a while: passwords are hidden by then

    try:
        app(args=given)
    except MaskstreamError as error:
        print(f"maskstream: {mask_url(scrub(str(error)))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)
