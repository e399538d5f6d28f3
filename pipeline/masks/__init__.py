"""The masks of a picture as runs, and all that is computed with them.

`Masks` is the class everything else uses; how each operation works is in one file beside it.
"""

from pipeline.masks.masks import Masks

__all__ = ["Masks"]
