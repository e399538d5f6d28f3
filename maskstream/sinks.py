"""What a sink of your own is made of: its scheme, its options, a file that can be resumed."""

from pipeline.sinks import Scheme, SinkTarget, choice, register
from pipeline.sinks.files import OutputFile
from pipeline.sinks.schemes import Option, flag, integer

__all__ = ["Option", "OutputFile", "Scheme", "SinkTarget", "choice", "flag", "integer", "register"]
