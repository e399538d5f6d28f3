"""What a sink of your own is made of: scheme, options, promise, a file that can be resumed."""

from pipeline.delivery.promise import Promise
from pipeline.sinks import Scheme, SinkTarget, choice, register
from pipeline.sinks.files import OutputFile
from pipeline.sinks.options import Option, flag, integer

__all__ = [
    "Option",
    "OutputFile",
    "Promise",
    "Scheme",
    "SinkTarget",
    "choice",
    "flag",
    "integer",
    "register",
]
