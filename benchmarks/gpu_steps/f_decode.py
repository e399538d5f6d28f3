"""Step f: decoding on the GPU through PyAV: is it there, how fast, the same bytes, what it takes.

Planes of a surface come by DLPack. Its capsule is asked for without a stream, after the device is
done; a surface belongs to the decoder and is held as long as a tensor looks at it, so it is copied
at once; its rows are longer than the picture is wide.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import av
import numpy as np
import torch
from av.codec.hwaccel import HWAccel, hwdevices_available
from torch import Tensor

from benchmarks.gpu_steps.rig import Rig

Decode = Callable[[bytes], Iterator[av.VideoFrame]]
CONTEXTS = ({"primary_ctx": "0", "current_ctx": "1"}, {"primary_ctx": "1"})


def run(rig: Rig) -> None:
    """The host first: without a decoder on the GPU its figure still counts."""
    size, frames = rig.size(((1080, 1920), 300), ((64, 96), 6))
    clip = _clip(size, frames)
    rig.found("clip", f"{size[1]}x{size[0]} H.264, {frames} frames, {len(clip) / 1e3:.0f} kB")
    host = [_digest(_planes_of_host(frame)) for frame in _on_host(clip)]
    for streams in (1, 4):
        figure = _rate(rig, clip, streams, frames, _on_host)
        rig.found(f"host decodes, frames/s, {streams} streams", figure)
    missing = _missing()
    if missing and not rig.dry:
        rig.found("decoding on the GPU", f"not to be had: {missing}")
        return
    decode = _like_surfaces if rig.dry else _on_gpu(rig, clip)
    free = rig.memory()[0]
    same = sum(
        _digest(_planes_of_surface(rig, frame)) == expected
        for frame, expected in zip(decode(clip), host, strict=True)
    )
    rig.found("a context and a decoder, MB", (free - rig.memory()[0]) / 1e6)
    rig.found("Y and UV as the host's", f"{same} of {len(host)} frames")
    for streams in rig.size((1, 4, 16), (2,)):
        free = rig.memory()[0]
        figure = _rate(rig, clip, streams, frames, decode)
        rig.found(f"GPU decodes, frames/s, {streams} streams", figure)
        rig.found(f"what {streams} streams left behind, MB", (free - rig.memory()[0]) / 1e6)
    y, uv = _planes_of_surface(rig, next(decode(clip)))
    seconds = rig.seconds_of(lambda: _normalised(y, uv))
    rig.found("surface to network input, ms", 1e3 * seconds)
    assert same == len(host), f"{len(host) - same} frames differ from the host's"


def _missing() -> str:
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError as error:
        return str(error)
    return "" if "cuda" in hwdevices_available() else "PyAV has no cuda compiled in"


def _clip(size: tuple[int, int], frames: int) -> bytes:
    """Moving shapes, as H.264 in MP4."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        shade = np.add.outer(np.arange(size[0]), np.arange(size[1])).astype(np.uint8)
        picture = np.repeat(shade[..., None], 3, axis=2)
        for i in range(frames):
            moved = np.ascontiguousarray(np.roll(picture, 7 * i, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="bgr24")))
        container.mux(stream.encode())
    return file.getvalue()


def _on_host(clip: bytes) -> Iterator[av.VideoFrame]:
    return _frames(clip, None)


def _like_surfaces(clip: bytes) -> Iterator[av.VideoFrame]:
    """Pictures of the host, laid out as a decoder on the GPU does."""
    return (frame.reformat(format="nv12") for frame in _on_host(clip))


def _on_gpu(rig: Rig, clip: bytes) -> Decode:
    """A way to decode there: in torch's context, or in one that the decoder finds by itself.

    FFmpeg refuses the context that torch has begun, with other flags, unless it is told to take the
    one that is current.
    """
    refused = []
    for options in CONTEXTS:
        decode = partial(_surfaces, options=options)
        try:
            next(decode(clip))
        except Exception as error:  # noqa: BLE001 - the next one is tried
            refused.append(f"{options}: {type(error).__name__}: {error}")
        else:
            rig.found("the decoder's context", f"{options}; refused: {refused or 'none'}")
            return decode
    raise RuntimeError(f"the decoder takes no context: {'; '.join(refused)}")


def _surfaces(clip: bytes, options: dict[str, str]) -> Iterator[av.VideoFrame]:
    torch.empty(1, device="cuda")  # makes torch's context the current one of this thread
    wanted = HWAccel("cuda", allow_software_fallback=False, options=dict(options), is_hw_owned=True)
    yield from _frames(clip, wanted)


def _frames(clip: bytes, accelerator: HWAccel | None) -> Iterator[av.VideoFrame]:
    with av.open(io.BytesIO(clip), hwaccel=accelerator) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def _planes_of_surface(rig: Rig, frame: av.VideoFrame) -> list[Tensor]:
    """Y and interleaved UV, rows as wide as the picture, copied out of the decoder's surface."""
    rig.wait()
    planes = [torch.utils.dlpack.from_dlpack(plane.__dlpack__()) for plane in frame.planes]
    return [plane.reshape(plane.shape[0], -1)[:, : frame.width].clone() for plane in planes]


def _planes_of_host(frame: av.VideoFrame) -> list[Tensor]:
    y, u, v = (_rows(plane) for plane in frame.planes)
    return [y, torch.stack([u, v], dim=-1).flatten(1)]


def _rows(plane: av.video.plane.VideoPlane) -> Tensor:
    lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return torch.from_numpy(lines[:, : plane.width].copy())


def _digest(planes: list[Tensor]) -> str:
    return hashlib.sha256(b"".join(p.cpu().numpy().tobytes() for p in planes)).hexdigest()


def _rate(rig: Rig, clip: bytes, streams: int, frames: int, decode: Decode) -> float:
    """Frames a second of so many decoders, a thread each."""
    counted: list[int] = []
    threads = [
        threading.Thread(target=lambda: counted.append(sum(1 for _ in decode(clip))))
        for _ in range(streams)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.wait()
    assert counted == [frames] * streams, f"frames decoded: {counted}, expected {frames} each"
    return streams * frames / (time.perf_counter() - start)


def _normalised(y: Tensor, uv: Tensor) -> Tensor:
    """NV12 to normalised RGB at half the size, in plain torch: an upper bound for a kernel."""
    chroma = uv.view(uv.shape[0], -1, 2).permute(2, 0, 1).float() - 128
    luma = torch.nn.functional.avg_pool2d(y[None].float(), 2)[0] - 16
    u, v = chroma
    luma = luma * 1.164
    rgb = torch.stack([luma + 1.793 * v, luma - 0.213 * u - 0.533 * v, luma + 2.112 * u])
    return ((rgb.clamp(0, 255) / 255 - 0.45) / 0.225).half()[None]
