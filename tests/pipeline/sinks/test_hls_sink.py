"""The HLS sink: a folder that players read over HTTP while it grows, is cut off and goes on."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest

from pipeline.errors import ConfigError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.playlist import playlist
from pipeline.sinks.segments import VideoSegment
from pipeline.stages import Sink, resume_keeping
from pipeline.testing import check_sink, make_end

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]
Write = Callable[..., None]
END = make_end(source_id="gate", captured=9, published=9)
NOON = 1_764_417_600.0


@pytest.fixture
def write(make_result: MakeResult, make_picture: MakePicture) -> Write:
    """Five frames a second, of a camera where the time is said."""

    def write(
        sink: Sink,
        frames: range,
        *,
        epoch: int = 0,
        at: float | None = None,
        size: tuple[int, int] = (48, 64),
    ) -> None:
        for i in frames:
            result = make_result(i, epoch=epoch, pts_s=i / 5)
            if at is not None:
                result = replace(result, captured_at_s=at + i / 5, clock="arrival")
            sink.write(result, make_picture(i, size=size))

    return write


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of a folder, from Python's own server of files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def seen(url: str) -> list[tuple[int, float]]:
    """Number (by its grey) and time of each picture a player gets."""
    with av.open(url, options={"live_start_index": "0"}) as container:
        return [
            (
                round((float(frame.to_ndarray(format="bgr24").mean()) - 110) / 4),
                round(float(frame.pts * frame.time_base), 3),  # type: ignore[operator]
            )
            for frame in container.decode(video=0)
        ]


def told(folder: Path) -> list[str]:
    """The files its playlist names, in order."""
    lines = (folder / "index.m3u8").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def numbers_in(folder: Path, names: list[str]) -> list[int]:
    """The pictures of segments, their header put before them."""
    whole = folder.parent / "joined.mp4"
    init = next(folder.glob("init-*.mp4"))
    whole.write_bytes(b"".join((folder / name).read_bytes() for name in [init.name, *names]))
    return [number for number, _ in seen(str(whole))]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# -- what players get --------------------------------------------------------------------------


def test_a_player_gets_every_frame_once_with_its_time(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    sink = open_for_test(f"hls:{tmp_path}/{{source}}?segment=1s")
    write(sink, range(12), at=NOON)
    sink.flush()
    write(sink, range(12, 14), at=NOON)
    sink.finish(END)
    sink.close()
    assert (tmp_path / "gate" / "index.m3u8").read_text() == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-TARGETDURATION:1\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:EVENT\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MAP:URI="init-00000000.mp4"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:00:00.000Z\n"
        "#EXTINF:1.00000,\n"
        "00000000.m4s\n"
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:00:01.000Z\n"
        "#EXTINF:1.00000,\n"
        "00000001.m4s\n"
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:00:02.000Z\n"
        "#EXTINF:0.80000,\n"
        "00000002.m4s\n"
        "#EXT-X-ENDLIST\n"
    )
    with served(tmp_path) as url:
        assert seen(f"{url}/gate/index.m3u8") == [(i, i / 5) for i in range(14)]


def test_the_tools_of_ffmpeg_have_no_complaint(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    sink = open_for_test(f"hls:{tmp_path}/gate?segment=1s")
    write(sink, range(14))
    sink.finish(END)
    sink.close()
    with served(tmp_path) as url:
        command = ["ffprobe", "-v", "warning", "-count_frames", "-show_entries"]
        command += ["stream=nb_read_frames,width", "-of", "csv=p=0", f"{url}/gate/index.m3u8"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.split()[-1], done.stderr) == ("64,14", "")


def test_a_player_that_follows_sees_only_what_is_whole(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    folder = tmp_path / "gate"
    sink = open_for_test(f"hls:{folder}?segment=1s")
    write(sink, range(5))
    sink.flush()
    assert not (folder / "index.m3u8").exists()
    with served(folder) as url:
        found: list[tuple[int, float]] = []
        write(sink, range(5, 11))
        player = threading.Thread(target=lambda: found.extend(seen(f"{url}/index.m3u8")))
        player.start()
        for second in range(2, 4):
            write(sink, range(5 * second + 1, 5 * second + 6))
        sink.finish(END)
        sink.close()
        player.join(20)
    assert found == [(i, i / 5) for i in range(21)]


def test_nobody_ever_reads_half_a_playlist(
    tmp_path: Path, open_for_test: Open, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    put = os.replace

    def replaced(part: Path, path: Path) -> None:
        written.append(Path(part).read_text("utf-8", "replace"))
        assert Path(part).parent == Path(path).parent
        put(part, path)

    monkeypatch.setattr("pipeline.sinks.hls.os.replace", replaced)
    sink = open_for_test(f"hls:{tmp_path}/gate?segment=1s")
    write(sink, range(12))
    sink.finish(END)
    sink.close()
    assert [text.count("#EXTINF") for text in written[1:]] == [1, 2, 3, 3]  # the header is first
    assert all(text.startswith("#EXTM3U\n") for text in written[1:])
    assert not list((tmp_path / "gate").glob(".*.part"))


def test_live_the_playlist_moves_on_and_files_stay_as_long_again(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    folder = tmp_path / "gate"
    sink = open_for_test(f"hls:{folder}?segment=1s&keep=3s")
    for second in range(12):
        write(sink, range(5 * second, 5 * second + 5))
        sink.flush()
    sink.close()
    text = (folder / "index.m3u8").read_text()
    assert "#EXT-X-MEDIA-SEQUENCE:8\n" in text
    assert "PLAYLIST-TYPE" not in text
    assert told(folder) == ["00000008.m4s", "00000009.m4s", "00000010.m4s"]
    there = sorted(path.name for path in folder.glob("*.m4s"))
    assert there == [f"{number:08d}.m4s" for number in range(5, 12)]
    assert numbers_in(folder, told(folder)) == [n % 30 for n in range(40, 55)]


def test_a_new_size_has_a_header_of_its_own_and_an_interruption_is_told(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    folder = tmp_path / "gate"
    sink = open_for_test(f"hls:{folder}?segment=1s")
    write(sink, range(6), at=NOON)
    write(sink, range(6, 9), epoch=1, at=NOON + 60)
    write(sink, range(9, 12), epoch=4, at=NOON + 90, size=(30, 40))
    sink.finish(END)
    sink.close()
    lines = (folder / "index.m3u8").read_text().splitlines()
    told = [line for line in lines if not line.startswith("#EXTINF")][7:-1]
    assert told == [
        '#EXT-X-MAP:URI="init-00000000.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:00:00.000Z",
        "00000000.m4s",
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:00:01.000Z",
        "00000001.m4s",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:01:01.200Z",
        "00000002.m4s",
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="init-00000003.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2025-11-29T12:01:31.800Z",
        "00000003.m4s",
    ]
    with av.open(str(folder / "index.m3u8")) as container:
        pictures = [(f.width, f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]
    assert [width for width, _ in pictures] == [64] * 9 + [40] * 3
    greys = [round((float(pixels.mean()) - 110) / 4) for _, pixels in pictures]
    assert greys == list(range(12))


def _segment(number: int, start_s: float, *, breaks: int = 0) -> VideoSegment:
    return VideoSegment(
        number=number,
        file=f"{number}.m4s",
        start=None,
        epoch=breaks,
        frame=0,
        pts_s=0.0,
        ticks=round(start_s * 90_000),
        size=(2, 2),
        init="i.mp4",
        breaks=breaks,
    )


def test_breaks_that_are_told_of_no_more_still_count() -> None:
    segments = [_segment(n, n, breaks=n // 2) for n in range(10)]
    text = playlist(segments, 900_000, length_s=1.0, window=3 * 90_000, over=False)
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert "#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n" in text


@pytest.mark.parametrize(
    ("starts", "end", "expected"),
    [
        pytest.param([0, 4, 8], 12, 4, id="as it is meant to be"),
        pytest.param([0, 4.04, 8], 12, 4, id="rounded"),
        pytest.param([0, 4, 16], 20, 12, id="a long gap between two pictures"),
        pytest.param([0], 0.5, 4, id="one short one"),
    ],
)
def test_the_target_duration_is_the_longest(starts: list[float], end: float, expected: int) -> None:
    segments = [_segment(n, start) for n, start in enumerate(starts)]
    text = playlist(segments, round(end * 90_000), length_s=4.0, window=None, over=True)
    assert f"#EXT-X-TARGETDURATION:{expected}\n" in text


def test_a_player_has_three_segments_to_begin_with_however_little_is_kept() -> None:
    segments = [_segment(n, 4 * n) for n in range(10)]
    text = playlist(segments, 40 * 90_000, length_s=4.0, window=90_000, over=False)
    assert "#EXT-X-MEDIA-SEQUENCE:7\n" in text


# -- whose folder it is ------------------------------------------------------------------------


def test_what_is_there_is_refused_and_only_what_is_ours_is_replaced(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    folder = tmp_path / "gate"
    first = open_for_test(f"hls:{folder}?segment=1s")
    write(first, range(12))
    first.finish(END)
    first.close()
    (folder / "player.html").write_text("somebody's")
    (folder / "00000009.m4s").write_text("somebody's")
    with pytest.raises(ConfigError, match="gate: holds a playlist or segments already"):
        open_for_test(f"hls:{folder}?segment=1s")
    second = open_for_test(f"hls:{folder}?segment=1s", overwrite=True)
    write(second, range(3))
    assert not (folder / "index.m3u8").exists()  # it told of what is gone
    second.finish(END)
    second.close()
    assert sorted(path.name for path in folder.iterdir()) == [
        ".maskstream-segments",
        "00000000.m4s",
        "00000009.m4s",
        "index.m3u8",
        "init-00000000.mp4",
        "player.html",
    ]


def test_a_playlist_of_somebody_else_is_not_written_over(
    tmp_path: Path, open_for_test: Open
) -> None:
    (tmp_path / "index.m3u8").write_text("somebody's")
    with pytest.raises(ConfigError, match=r"index\.m3u8: is there and no list says that it is"):
        open_for_test(f"hls:{tmp_path}", overwrite=True)
    assert (tmp_path / "index.m3u8").read_text() == "somebody's"


def test_names_that_somebody_has_are_left_to_him(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    for name in ("00000001.m4s", "init-00000000.mp4"):
        (tmp_path / name).write_text("somebody's")
    sink = open_for_test(f"hls:{tmp_path}?segment=1s")
    write(sink, range(12))
    sink.finish(END)
    sink.close()
    assert told(tmp_path) == ["00000000.m4s", "00000001-2.m4s", "00000002.m4s"]
    assert [n for n, _ in seen(str(tmp_path / "index.m3u8"))] == list(range(12))
    assert (tmp_path / "00000001.m4s").read_text() == "somebody's"


# -- accidents ---------------------------------------------------------------------------------


def test_it_keeps_what_a_sink_promises(tmp_path: Path, open_for_test: Open) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        return open_for_test(f"hls:{folder}/cam?segment=1s", overwrite=overwrite)

    def shown(folder: Path) -> object:
        return [time for _, time in seen(str(folder / "cam" / "index.m3u8"))]

    check_sink(opened, shown, tmp_path)


@pytest.mark.parametrize("crash_after", [1, 4, 5, 6, 13])
def test_after_a_crash_and_a_rerun_players_get_the_same(
    crash_after: int, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"hls:{tmp_path}/gate?segment=1s"
    first = open_for_test(url)
    write(first, range(crash_after))
    position = json.loads(json.dumps(first.flush()))
    whole = {name: data for name, data in content(tmp_path / "gate").items() if "m4s" in name}
    whole.pop(max(whole))
    write(first, range(crash_after, 16))
    first.finish(END)
    first.close()
    second = open_for_test(url, resume=position)
    if whole:
        assert told(tmp_path / "gate") == sorted(whole)
    else:
        assert not (tmp_path / "gate" / "index.m3u8").exists()
    write(second, range(crash_after, 16))
    second.finish(END)
    second.close()
    assert whole.items() <= content(tmp_path / "gate").items()
    assert told(tmp_path / "gate") == [f"{number:08d}.m4s" for number in range(4)]
    assert seen(str(tmp_path / "gate" / "index.m3u8")) == [(i, i / 5) for i in range(16)]


@pytest.mark.parametrize(("torn", "kept"), [(0, 8), (1, 6), (9999, 5)])
def test_of_a_camera_what_is_whole_stays_and_is_told_of(
    torn: int, kept: int, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"hls:{tmp_path}/gate?segment=1s"
    first = open_for_test(url)
    write(first, range(2), at=NOON)
    position = json.loads(json.dumps(first.flush()))
    write(first, range(2, 6), at=NOON)
    first.flush()
    write(first, range(6, 8), at=NOON)
    first.close()
    last = tmp_path / "gate" / "00000001.m4s"
    if torn:
        last.write_bytes(last.read_bytes()[: -min(torn, last.stat().st_size)])
    second = open_for_test(url, overwrite=True)
    resume_keeping(second, position)
    whole = ["00000000.m4s", "00000001.m4s"][: 1 + (kept > 5)]
    assert told(tmp_path / "gate") == whole
    write(second, range(20, 22), epoch=1, at=NOON + 60)
    second.finish(END)
    second.close()
    pictures = seen(str(tmp_path / "gate" / "index.m3u8"))
    assert [number for number, _ in pictures] == [*range(kept), 20, 21]
    assert [time for _, time in pictures] == pytest.approx([i / 5 for i in range(kept + 2)])
    text = (tmp_path / "gate" / "index.m3u8").read_text()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
