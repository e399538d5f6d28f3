"""From settings to objects: the only place that knows both.

`check` refuses what cannot run, `prepare` settles a run once where it is started, `build_segmenter`
and `build_stream` make the objects, wherever they are to live. Heavy things are imported inside
the functions that need them, so that `check` answers at once and a process that only runs streams
never loads torch.
"""

from pipeline.build.checking import check, choose_model, class_ids, masked
from pipeline.build.objects import build_segmenter, build_stream
from pipeline.build.preparing import manifest, prepare, run_id

__all__ = [
    "build_segmenter",
    "build_stream",
    "check",
    "choose_model",
    "class_ids",
    "manifest",
    "masked",
    "prepare",
    "run_id",
]
