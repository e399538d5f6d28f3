"""From settings to objects: the only place that knows both.

`check` refuses what cannot run, `prepare` settles a run once where it is started, `build_segmenter`
and `build_stream` make the objects, wherever they are to live. Heavy things are imported inside
the functions that need them, so that `check` answers at once and a process that only runs streams
never loads torch.
"""

from pipeline.build.checking import check, choose_model, class_ids, masked
from pipeline.build.inventory import Use, keep_apart
from pipeline.build.manifest import SCHEMA as MANIFEST_SCHEMA
from pipeline.build.manifest import manifest
from pipeline.build.naming import is_live, targets_of
from pipeline.build.notes import notes
from pipeline.build.objects import build_segmenter, build_stream
from pipeline.build.preparing import Prepared, prepare, run_id
from pipeline.build.state import state_files

__all__ = [
    "MANIFEST_SCHEMA",
    "Prepared",
    "Use",
    "build_segmenter",
    "build_stream",
    "check",
    "choose_model",
    "class_ids",
    "is_live",
    "keep_apart",
    "manifest",
    "masked",
    "notes",
    "prepare",
    "run_id",
    "state_files",
    "targets_of",
]
