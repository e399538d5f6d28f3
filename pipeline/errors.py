"""Everything that can go wrong, classed by what the caller should do about it.

MaskstreamError
├── ConfigError            the user's file or flag is wrong; fix it, do not retry
├── SourceError            one source is unusable; the other streams go on
│   └── SourceOpenError    cannot be opened; a live reader retries with backoff
├── ModelError             weights or device unusable
├── SegmentFailed          one frame could not be segmented; carries the `cause` it is counted under
└── SinkError              one sink stops; the others go on
    ├── SinkBusy           the destination asks to be called again after `retry_after_s`
    └── SinkFull           the disk is full

A message says what, where, got, expected and the next step in one line, without secrets.
"""


class MaskstreamError(Exception):
    """Base of all errors a user may see; `exit_code` is what the command line ends with."""

    exit_code = 1


def in_one_line(error: BaseException) -> str:
    """What a bug, or code that is not ours, failed with: its kind and the first line of it."""
    said = str(error).strip().partition("\n")[0].rstrip()
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class ConfigError(MaskstreamError):
    """A setting, flag or file name is wrong; nothing was started."""

    exit_code = 2


class SourceError(MaskstreamError):
    """One source cannot be read (further)."""

    exit_code = 2


class SourceOpenError(SourceError):
    """A source cannot be opened."""


class ModelError(MaskstreamError):
    """Weights or device are unusable."""

    exit_code = 2


class SegmentFailed(MaskstreamError):
    """One frame could not be segmented.

    Args:
        cause: a short snake_case word; becomes the `cause` label of the failed counter.
        detail: the one-line text for the log.
    """

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(cause, detail)  # both, so that the error survives pickling
        self.cause = cause
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else self.cause


class SinkError(MaskstreamError):
    """One sink cannot take results any more."""


class SinkBusy(SinkError):
    """The destination asks for patience; call again with the same result.

    Args:
        message: one line.
        retry_after_s: seconds to wait before the next call.
    """

    cause = "busy"
    """What a result is counted under that is left out after all."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s)
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class SinkFull(SinkError):
    """The disk a sink writes to is full; what was written stays readable."""
