"""What runs streams and models, in this process and on workers alike; without Ray.

`serving` is the thread around a model that joins the frames of all streams into batches, `device`
the batches under way there; `streams` is the thread of one stream.
"""

from pipeline.runtime.serving import Serving
from pipeline.runtime.streams import StreamThread

__all__ = ["Serving", "StreamThread"]
