"""`maskstream doctor`: what this machine has, what would be chosen, and why."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from pipeline._version import __version__
from pipeline.cli.home import home
from pipeline.cli.remote import DEFAULT, CaFile, RemoteService, ServiceToken, ServiceUrl
from pipeline.cli.telling import give
from pipeline.cli.top import held_up

FLOORS = {"torch": (2, 10), "ray": (2, 59)}
"""Below these, known holes are open: see docs/decisions/0004-version-floors.md."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where Ray keeps its objects

FIREWALL = (
    "nft add rule inet filter input ip saddr != { 10.0.0.0/24, 127.0.0.1 } "
    "tcp dport { 6379, 8265, 10001-19999, 32768-60999, 52365 } drop"
)
"""For the machines of a Ray that is joined: its ports cannot be closed from here."""

PACKAGES = ("torch", "torchvision", "ray", "av", "opencv-python", "numpy", "scipy", "pycocotools")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    value: str
    problem: str | None = None
    """What to do about it; None where all is well."""


def doctor(
    output: Annotated[
        Path, typer.Option(callback=home, metavar="DIR", help="Where outputs would be written.")
    ] = Path("out"),
    config: Annotated[
        Path | None,
        typer.Option(
            callback=home, metavar="CONFIG.yaml", help="Of a service: say what of it is open."
        ),
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Ask a running service what holds it up, no more.")
    ] = False,
    address: ServiceUrl = DEFAULT,
    token_file: ServiceToken = None,
    ca_file: CaFile = None,
) -> None:
    """Show versions, devices, precision, decoders and what would be chosen, and why."""
    if run:
        give(held_up(RemoteService(address, token_file, ca_file)))
        return
    problems = 0
    for finding in (*examine(output), *(() if config is None else _opened(config))):
        mark = "!" if finding.problem else " "
        give(f"{mark} {finding.name:<14} {finding.value}")
        if finding.problem:
            problems += 1
            give(f"  {'':<14} -> {finding.problem}")
    give("all is well" if not problems else f"{problems} thing(s) to mend")
    raise typer.Exit(0 if not problems else 1)


def examine(output: Path) -> Iterator[Finding]:
    """Everything worth knowing before the first run, in the order a reader wants it."""
    yield Finding("maskstream", __version__)
    yield Finding("python", f"{sys.version.split()[0]} on {platform.platform()}", _python_problem())
    yield from map(_package, PACKAGES)
    yield Finding("cores", f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}")
    yield _memory()
    yield from _devices()
    yield _weights()
    yield _decoders()
    yield from _network()
    yield _disk(output)


def _python_problem() -> str | None:
    inside = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return None if inside else "use Python 3.11, 3.12 or 3.13"


def _package(name: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", f"pip install {name}")
    floor = FLOORS.get(name)
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    if floor and numbers < floor:
        wanted = ".".join(map(str, floor))
        return Finding(name, version, f"older than {wanted}: pip install -U '{name}>={wanted}'")
    return Finding(name, version)


def _memory() -> Finding:
    from workers.private import can_write

    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    there = Path(SHARED_MEMORY).is_dir()
    shm = shutil.disk_usage(SHARED_MEMORY).free if there else 0
    value = f"{pages / 2**30:.1f} GiB free, shared memory {shm / 2**30:.1f} GiB"
    if not can_write(SHARED_MEMORY):
        why = f"{SHARED_MEMORY} is not writable: make it so, or frames go through files"
        return Finding("memory", value, why)
    if shm < 2**30:
        return Finding("memory", value, "Ray wants 1 GiB of /dev/shm; docker run --shm-size=2g")
    return Finding("memory", value)


def _devices() -> Iterator[Finding]:
    """Devices as torch sees them, and the choice `--device auto --precision auto` would make."""
    import torch

    from pipeline import models
    from pipeline.models.shared.devices import place

    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        memory = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        yield Finding(f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory}")
        yield _fits(free)
    if torch.cuda.device_count():
        yield _kernels(
            os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"),
            Path(sysconfig.get_path("include"), "Python.h"),
        )
    if models.gpu_present() and not torch.cuda.is_available():
        yield Finding("cuda", "unusable", _unusable(_driver(), torch.version.cuda))
    placement = place()
    yield Finding("device", f"{placement.device} in {placement.precision} ({placement.reason})")
    name, weights = models.choose()
    yield Finding("model", f"{name} with weights {weights} by default")


_LEAST_DRIVER = {"12": 525, "13": 580}
"""By the CUDA version torch is built for."""


def _driver(file: Path = Path("/proc/driver/nvidia/version")) -> int | None:
    """The series of the loaded driver."""
    try:
        found = re.search(r"Kernel Module[^\n]*?\s(\d+)\.\d", file.read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


def _unusable(driver: int | None, cuda: str | None) -> str:
    """Why torch cannot use a GPU that is there, and what to do."""
    if cuda is None:
        return "torch is built without CUDA: install one of its CUDA builds"
    least = _LEAST_DRIVER.get(cuda.partition(".")[0])
    if driver is None or least is None or driver >= least:
        return "a GPU is there but torch cannot use it; check the driver with nvidia-smi"
    older = ", or install torch's build cu128" if driver >= _LEAST_DRIVER["12"] else ""
    return (
        f"the driver is of series {driver}, torch for CUDA {cuda} wants {least} or later: "
        f"update the driver{older}"
    )


def _kernels(compiler: str | None, header: Path) -> Finding:
    """What Triton needs for the GPU kernels the first time it launches them on a machine."""
    slow = "without it plain torch does their work, which is several times slower"
    if compiler is None:
        return Finding("kernels", "no C compiler", f"install gcc: {slow}")
    if not header.is_file():
        return Finding("kernels", f"no {header}", f"install python3-dev: {slow}")
    return Finding("kernels", f"compiled with {compiler}")


def _fits(free_bytes: int) -> Finding:
    """The largest batch of a 1080p picture for the default model."""
    from pipeline.models import DEFAULT
    from pipeline.models.mask_rcnn.fit import largest_batch

    fits = largest_batch(DEFAULT, (800, 1344), "fp16", free_bytes)
    value = f"batches of {fits} pictures of 800x1344 ({DEFAULT}, fp16, two under way)"
    short = "free the GPU, or use a smaller model or smaller pictures"
    return Finding("fits", value, None if fits else short)


def _decoders() -> Finding:
    import av

    wanted = ("h264", "hevc", "vp9", "av1", "mjpeg", "mpeg4")
    have = [name for name in wanted if name in av.codecs_available]
    encoders = [name for name in ("libx264", "libopenh264", "mpeg4") if _encodes(name)]
    value = f"FFmpeg in PyAV {av.__version__}: {', '.join(have)}; encodes {', '.join(encoders)}"
    return Finding("decode", value, None if "h264" in have else "reinstall: pip install -U av")


def _encodes(name: str) -> bool:
    import av

    try:
        av.codec.Codec(name, "w")
    except ValueError:  # PyAV's UnknownCodecError is one
        return False
    return True


def _weights() -> Finding:
    """Where published weights are kept; the HOME of a service often cannot be written."""
    import torch

    from workers.private import can_write

    folder = Path(torch.hub.get_dir(), "checkpoints")
    value = f"kept in {folder}"
    if not can_write(_existing(folder)):
        why = "cannot be written: set HOME or TORCH_HOME to a folder of yours, or give --weights"
        return Finding("weights", value, why)
    return Finding("weights", value)


def _network() -> Iterator[Finding]:
    from pipeline.errors import ConfigError
    from workers.private import choose_base, unfit

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield Finding("free port", f"127.0.0.1:{free.getsockname()[1]}")
    yield Finding(
        "ray ports",
        "of our own Ray: loopback only, each asks for a token that is new for every run",
    )
    yield Finding(
        "of --address", f"ports of its own, close them to all but its machines: {FIREWALL}"
    )
    try:
        base = choose_base()
    except ConfigError as error:
        yield Finding("ray files", "nowhere to put them", str(error))
        return
    wanted = os.environ.get("TMPDIR", base)
    why = "" if wanted == base else f"; TMPDIR {wanted} {unfit(wanted)}"
    yield Finding("ray files", f"in {base}, for nobody else to read{why}")


def _opened(config: Path) -> Iterator[Finding]:
    """Who could reach a service, and what it would do for them."""
    from pipeline.cli.sources import load_service_settings
    from pipeline.errors import ConfigError
    from pipeline.service.access import Door

    try:
        serve = load_service_settings(config).serve
        door = Door(serve)
    except ConfigError as error:
        yield Finding("serve", f"{config} would not start", str(error))
        return
    hidden = "behind a proxy" if serve.behind_proxy else "in plain text"
    yield Finding("serve", f"{door.url(serve.port)}, {door.asks}; {'TLS' if door.tls else hidden}")
    sinks = ", ".join(serve.allow_sinks) or "those of the configuration"
    secrets = "any" if serve.allow_secrets else "none"
    named = f"sources {', '.join(serve.allow) or 'none'}; sinks {sinks}"
    yield Finding("over the API", f"{named}; files and variables that hold secrets: {secrets}")


def _disk(output: Path) -> Finding:
    from workers.private import can_write

    folder = _existing(output.absolute())
    free = shutil.disk_usage(folder).free / 2**30
    value = f"{free:.1f} GiB free for {output}"
    if not can_write(folder):
        return Finding("output", value, f"{folder} is not writable; choose another --output")
    return Finding("output", value, None if free > 1 else "free some space, or another --output")


def _existing(path: Path) -> Path:
    """The nearest folder on the way that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
