"""Records back from where sinks have put them: the URL of a sink becomes an iterator.

A kind of sink that can be read has a row in `READERS`; each reader is one file beside this.
"""

from __future__ import annotations

from pipeline.readers.opening import records
from pipeline.readers.results import read

__all__ = ["read", "records"]
