"""All streams in one process, without Ray: the oracle for the cluster, and the Python API.

One thread a stream, one more around the model, as `pipeline.runtime` has them for every executor.
Whoever starts a thread here stops it.
"""

from pipeline.runner.api import track
from pipeline.runner.local import LocalRun, run_local

__all__ = ["LocalRun", "run_local", "track"]
