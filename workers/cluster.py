"""Ray itself: joined or started, told what it must know, and ended when it is ours."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn

from pipeline.config import Settings, SourceSettings
from pipeline.errors import ConfigError, MaskstreamError
from pipeline.models import WeightsFile
from pipeline.sources import Kind, check_url
from workers.scaling import at_once, in_flight_share_mb, plan, store_bytes
from workers.signals import handlers_kept
from workers.slots import Remote

log = logging.getLogger(__name__)

QUIET = {
    # Ray prints `(raylet) A worker died ...` over our output; we say it ourselves, in one line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Actors without GPUs see none, now and in later releases.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


def start_ray(object_store_bytes: int) -> None:
    """Start a Ray on this machine that ends with this process.

    Raises:
        MaskstreamError: it does not come up, twice.
    """
    _prepare_environment()
    import ray

    for attempt in (1, 2):
        try:
            with handlers_kept():
                ray.init(
                    address="local",  # a bare `ray.init()` would join whatever runs here
                    include_dashboard=False,
                    object_store_memory=object_store_bytes,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except Exception as error:  # Ray raises the bare class when a machine is too slow for it
            ray.shutdown()
            reason = str(error).partition("\n")[0]
            if attempt == 2:
                raise MaskstreamError(
                    f"Ray does not start here: {reason} Its logs are in /tmp/ray/session_latest; "
                    "`--local` runs without it"
                ) from error
            log.warning("Ray did not start, trying once more: %s", reason)
        else:
            return


def join_ray(address: str) -> None:
    """Join a Ray that runs already.

    Raises:
        ConfigError: there is none.
    """
    _knock(address)
    _prepare_environment()
    import ray

    try:
        with handlers_kept():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"--address {address}: cannot join Ray there: {reason}") from error


def _knock(address: str) -> None:
    """Refuse an address nobody listens at; Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # `auto`, or a name Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"--address {address}: nobody answers there: {reason}; "
            "start Ray with `ray start --head`, or leave the option out"
        ) from error


def _prepare_environment() -> None:
    """Ray reads these when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


class Cluster:
    """The machines of one run; a context manager.

    Args:
        settings: of the run, checked.
        runs: identity of every source's run, as `build.prepare` gave it.
        weights: of the model, read once here for all workers; None where it has none.
        address: of a Ray cluster to join; None starts one on this machine.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        runs: Mapping[str, str],
        weights: WeightsFile | None,
        address: str | None,
    ) -> None:
        self._settings = settings
        self._runs = runs
        self._weights = weights
        self._address = address
        self._scratch: str | None = None
        self._ours = False

    @property
    def segment_workers(self) -> int:
        """How many there should be."""
        return self._plan.workers

    @property
    def stream_workers(self) -> int:
        """How many may read files at once."""
        return at_once(cores=len(os.sched_getaffinity(0)))

    def __enter__(self) -> Cluster:
        """Start or join Ray.

        Raises:
            ConfigError: the cluster cannot be reached.
        """
        _prepare_environment()
        import ray

        self._ours = not ray.is_initialized()
        if self._ours:
            self._connect()
        self._node_id = ray.get_runtime_context().get_node_id()
        self._weights_ref: Any = None if self._weights is None else ray.put(self._weights)
        self._plan = plan(
            self._settings.workers.segment, gpus=self._gpus(), cores=len(os.sched_getaffinity(0))
        )
        if self._settings.run.state_dir is None:
            # A stream worker that dies goes on from its checkpoint also when the user keeps none.
            self._scratch = tempfile.mkdtemp(prefix="maskstream-")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End Ray if it was started here."""
        import ray

        self._weights_ref = None
        if self._ours:
            ray.shutdown()
        self._clean_up()

    def leave(self) -> NoReturn:
        """End this process here and now; Ray ends its own when that of the driver is gone."""
        self._clean_up()
        os._exit(1)

    def _clean_up(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def start_segment(self, worker_id: str) -> Remote:
        """A `SegmentWorker` that has its model still to load."""
        from workers.actors import SegmentSpec, start_segment

        device = self._settings.model.device
        if device == "auto" and not self._plan.gpus_each:
            device = "cpu"
        gpus = self._plan.gpus_each
        spec = SegmentSpec(worker_id, self._settings, device, self._plan.threads, warm_up=gpus > 0)
        return start_segment(spec, self._weights_ref, gpus=gpus)

    def start_stream(
        self, sources: Sequence[SourceSettings], *, spread: int, again: bool
    ) -> Remote:
        """A `StreamWorker` for these sources, on this node."""
        from workers.actors import StreamSpec, start_stream

        spec = StreamSpec(self._for_streams(), tuple(sources), self._runs, spread, again)
        return start_stream(spec, node_id=self._node_id)

    def _for_streams(self) -> Settings:
        """The settings as a stream worker needs them."""
        settings, workers, run = self._settings, self._settings.workers, self._settings.run
        live = sum(check_url(source.url) is Kind.LIVE for source in settings.sources)
        share_mb = in_flight_share_mb(
            workers.in_flight_mb,
            live=live,
            files=len(settings.sources) - live,
            at_once=self.stream_workers * workers.streams_per_worker,
        )
        return settings.model_copy(
            update={
                "workers": workers.model_copy(update={"in_flight_mb": share_mb}),
                "run": run.model_copy(update={"state_dir": run.state_dir or self._scratch}),
            }
        )

    def _connect(self) -> None:
        if self._address is not None:
            join_ray(self._address)
            return
        start_ray(
            store_bytes(
                in_flight_bytes=int(self._settings.workers.in_flight_mb * 1e6),
                weights_bytes=0 if self._weights is None else len(self._weights.data),
                free_bytes=_free_shared_memory(),
            )
        )

    def _gpus(self) -> int:
        import ray

        name = self._settings.model.name
        if self._settings.model.device == "cpu" or name == "blob":
            return 0
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        found = int(resources.get("GPU", 0))
        return min(1, found) if ":" in self._settings.model.device else found


def _free_shared_memory() -> int:
    try:
        return shutil.disk_usage("/dev/shm").free  # noqa: S108 - where Ray keeps its objects
    except OSError:
        return shutil.disk_usage(tempfile.gettempdir()).free
