"""All streams in one process, without Ray: the oracle for the cluster, and the Python API.

One thread a stream, one more around the model that joins the waiting frames of all streams into
batches. Whoever starts a thread here stops it.
"""

from pipeline.runner.api import track
from pipeline.runner.local import RunSummary, run_local
from pipeline.runner.segmenter import LocalSegmenter

__all__ = ["LocalSegmenter", "RunSummary", "run_local", "track"]
