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
from collections.abc import Iterator

import av
import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_steps.rig import Rig


def run(rig: Rig) -> None:
    """The host first: without a decoder on the GPU its figure still counts."""
    size, frames = rig.size(((1080, 1920), 300), ((64, 96), 6))
    clip = _clip(size, frames)
    rig.found("clip", f"{size[1]}x{size[0]} H.264, {frames} frames, {len(clip) / 1e3:.0f} kB")
    host = _digests(clip, gpu=False)
    rig.found("host decodes, frames/s, 1 stream", _rate(clip, 1, frames, gpu=False))
    rig.found("host decodes, frames/s, 4 streams", _rate(clip, 4, frames, gpu=False))
    if rig.dry:
        _planes_of_the_host(clip)
        return
    missing = _missing()
    if missing:
        rig.found("decoding on the GPU", f"not to be had: {missing}")
        return
    _gpu(rig, clip, frames, host)


def _missing() -> str:
    try:
        ctypes.CDLL("libnvcuvid.so.1")
    except OSError as error:
        return str(error)
    from av.codec.hwaccel import hwdevices_available

    return "" if "cuda" in hwdevices_available() else "PyAV has no cuda compiled in"


def _gpu(rig: Rig, clip: bytes, frames: int, host: list[str]) -> None:
    free = torch.cuda.mem_get_info()[0]
    device = _digests(clip, gpu=True)
    rig.found("a context and a decoder, MB", (free - torch.cuda.mem_get_info()[0]) / 1e6)
    same = sum(a == b for a, b in zip(device, host, strict=True))
    rig.found("Y and UV as the host's", f"{same} of {len(host)} frames")
    for streams in (1, 4, 16):
        free = torch.cuda.mem_get_info()[0]
        rig.found(
            f"GPU decodes, frames/s, {streams} streams", _rate(clip, streams, frames, gpu=True)
        )
        taken = (free - torch.cuda.mem_get_info()[0]) / 1e6
        rig.found(f"what {streams} streams left behind, MB", taken)
    rig.found("surface to network input, ms", 1e3 * _to_input(rig, clip))
    assert same == len(host), f"{len(host) - same} frames differ from the host's"


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


def _frames(clip: bytes, *, gpu: bool) -> Iterator[av.VideoFrame]:
    accelerator = None
    if gpu:
        from av.codec.hwaccel import HWAccel

        accelerator = HWAccel("cuda", allow_software_fallback=False, is_hw_owned=True)
    with av.open(io.BytesIO(clip), hwaccel=accelerator) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def _nv12(frame: av.VideoFrame, *, gpu: bool) -> list[Tensor]:
    """Y and interleaved UV, rows as wide as the picture, copied out of the decoder's surface."""
    if not gpu:
        y, u, v = (_rows(plane) for plane in frame.planes)
        return [y, torch.stack([u, v], dim=-1).flatten(1)]
    torch.cuda.synchronize()
    planes = [torch.utils.dlpack.from_dlpack(plane.__dlpack__()) for plane in frame.planes]
    return [plane.reshape(plane.shape[0], -1)[:, : frame.width].clone() for plane in planes]


def _rows(plane: av.video.plane.VideoPlane) -> Tensor:
    lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return torch.from_numpy(lines[:, : plane.width].copy())


def _planes_of_the_host(clip: bytes) -> None:
    """What a surface's planes go through, with those of the host."""
    for frame in _frames(clip, gpu=False):
        y, uv = _nv12(frame, gpu=False)
        assert y.shape == (frame.height, frame.width)
        assert uv.shape == (frame.height // 2, frame.width)
        assert _normalised(y, uv).shape == (1, 3, frame.height // 2, frame.width // 2)


def _digests(clip: bytes, *, gpu: bool) -> list[str]:
    return [
        hashlib.sha256(
            b"".join(p.cpu().numpy().tobytes() for p in _nv12(frame, gpu=gpu))
        ).hexdigest()
        for frame in _frames(clip, gpu=gpu)
    ]


def _rate(clip: bytes, streams: int, frames: int, *, gpu: bool) -> float:
    """Frames a second of so many decoders, a thread each."""
    counted: list[int] = []

    def decode() -> None:
        counted.append(sum(1 for _ in _frames(clip, gpu=gpu)))

    threads = [threading.Thread(target=decode) for _ in range(streams)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [frames] * streams, f"frames decoded: {counted}, expected {frames} each"
    return streams * frames / (time.perf_counter() - start)


def _to_input(rig: Rig, clip: bytes) -> float:
    frame = next(_frames(clip, gpu=True))
    y, uv = _nv12(frame, gpu=True)
    return rig.seconds_of(lambda: _normalised(y, uv))


def _normalised(y: Tensor, uv: Tensor) -> Tensor:
    """NV12 to normalised RGB at half the size, in plain torch: an upper bound for a kernel."""
    chroma = uv.view(uv.shape[0], -1, 2).permute(2, 0, 1).float() - 128
    luma = torch.nn.functional.avg_pool2d(y[None].float(), 2)[0] - 16
    u, v = chroma
    luma = luma * 1.164
    rgb = torch.stack([luma + 1.793 * v, luma - 0.213 * u - 0.533 * v, luma + 2.112 * u])
    return ((rgb.clamp(0, 255) / 255 - 0.45) / 0.225).half()[None]
