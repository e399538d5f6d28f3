"""Files that follow each other, after a crash and on a full disk."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from pipeline.errors import ConfigError, SinkFull
from pipeline.sinks import SinkTarget
from pipeline.sinks.segmented import open_segmented
from pipeline.sinks.urls import parse_sink
from pipeline.stages import Sink, resume_keeping
from pipeline.testing import check_sink, make_end
from tests.pipeline.sinks.rolled import content, decoded, lines, names

Open = Callable[..., Sink]


END = make_end(source_id="gate", captured=9, published=9)


NOON = 1_764_417_600.0
"""2025-11-29 12:00:00 UTC."""


TEMPLATE = "{source}-{start}.mp4"


Write = Callable[..., None]


def test_it_keeps_what_a_sink_promises(tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        url = parse_sink(f"video:{folder}/{TEMPLATE}?segment=1s")
        target = SinkTarget(
            scheme="video",
            location=url.located("cam"),
            root=url.root,
            options={**url.options, "segment": 0.3},  # the kit's stream is short
            source_id="cam",
            run="run",
            fps_hint=10.0,
            overwrite=overwrite,
        )
        return open_segmented(target)

    def seen(folder: Path) -> object:
        times = []
        for line in (folder / "cam.segments").read_text().splitlines():
            with av.open(str(folder / json.loads(line)["file"])) as container:
                start = json.loads(line)["ticks"]
                times += [start + (frame.pts or 0) for frame in container.decode(video=0)]
        return times

    check_sink(opened, seen, tmp_path)


@pytest.mark.parametrize("crash_after", [1, 9, 10, 11, 27])
def test_after_a_crash_and_a_rerun_the_files_are_the_same(
    crash_after: int, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    whole = open_for_test(f"video:{tmp_path}/whole/{TEMPLATE}?segment=2s")
    write(whole, range(30))
    whole.finish(END)
    whole.close()

    url = f"video:{tmp_path}/crashed/{TEMPLATE}?segment=2s"
    first = open_for_test(url)
    write(first, range(crash_after))
    position = json.loads(json.dumps(first.flush()))
    finished = content(tmp_path / "crashed")
    write(first, range(crash_after, 30))
    first.close()
    for _ in range(2):
        second = open_for_test(url, resume=position)
        grew = max(name for name in finished if name.endswith(".mp4"))
        for name in set(finished) - {grew, "gate.segments"}:
            assert (tmp_path / "crashed" / name).read_bytes() == finished[name]
        write(second, range(crash_after, 30))
        second.finish(END)
        second.close()
        assert names(tmp_path / "crashed") == names(tmp_path / "whole")
        for name in names(tmp_path / "whole"):
            assert decoded(tmp_path / "crashed" / name) == decoded(tmp_path / "whole" / name)
        assert lines(tmp_path / "crashed") == lines(tmp_path / "whole")


@pytest.mark.parametrize("lost", ["all", "some"])
def test_a_file_that_cannot_go_on_is_said_so_and_nothing_is_changed(
    lost: str, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=2s"
    sink = open_for_test(url)
    write(sink, range(15))
    position = sink.flush()
    sink.close()
    (tmp_path / "gate-19700101-000000.mp4").unlink()  # whose disk it is may tidy up
    grew = tmp_path / "gate-19700101-000002.mp4"
    open_for_test(url, resume=position).close()
    if lost == "all":
        grew.unlink()
    else:
        grew.write_bytes(grew.read_bytes()[:-1])
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=r"0002\.mp4: cannot be resumed, the last checkpoint"):
        open_for_test(url, resume=position)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("flushed", "written", "torn", "kept"),
    [
        pytest.param(0, 0, 0, [[20, 21]], id="nothing"),
        pytest.param(0, 4, 0, [[0, 1, 2, 3], [20, 21]], id="before the first checkpoint"),
        pytest.param(6, 8, 0, [list(range(8)), [20, 21]], id="in the file of the checkpoint"),
        pytest.param(6, 8, 1, [list(range(6)), [20, 21]], id="torn"),
        pytest.param(6, 6, 0, [list(range(6)), [20, 21]], id="nothing since"),
        pytest.param(
            3, 14, 0, [list(range(10)), [10, 11, 12, 13], [20, 21]], id="in the file behind it"
        ),
        pytest.param(3, 14, 1, [list(range(10)), [10, 11, 12], [20, 21]], id="torn there"),
        pytest.param(3, 11, 9999, [list(range(10)), [20, 21]], id="nothing of it is whole"),
    ],
)
def test_of_a_camera_what_is_whole_stays_and_the_rest_has_a_new_file(
    flushed: int,
    written: int,
    torn: int,
    kept: list[list[int]],
    tmp_path: Path,
    open_for_test: Open,
    write: Write,
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=2s"
    first = open_for_test(url)
    write(first, range(flushed), at=NOON)
    position = json.loads(json.dumps(first.flush()))
    write(first, range(flushed, written), at=NOON)
    first.close()  # writes what is left; a killed process has up to half a second less
    if torn:
        last = tmp_path / names(tmp_path)[-1]
        last.write_bytes(last.read_bytes()[: -min(torn, last.stat().st_size)])
    second = open_for_test(url, overwrite=True)
    resume_keeping(second, position)
    again = second.flush()
    second.close()
    third = open_for_test(url, overwrite=True)  # killed once more before there was a picture
    resume_keeping(third, again)
    write(third, range(20, 22), epoch=1, at=NOON + 60)
    third.finish(END)
    third.close()
    parts = [decoded(tmp_path / one["file"]) for one in lines(tmp_path)]
    assert [numbers for numbers, _, _ in parts] == kept
    starts = [one["ticks"] for one in lines(tmp_path)]
    durations = [duration for _, _, duration in parts]
    assert [start + span for start, span in zip(starts, durations, strict=True)][:-1] == starts[1:]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "url", ["video:{folder}/{{source}}-{{start}}.mp4?segment=1s", "hls:{folder}/?segment=1s"]
)
def test_on_a_full_disk_what_was_written_plays(
    url: str, small_disk: Path, tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    sink = open_for_test(url.format(folder=small_disk))

    def write_until_full() -> None:
        for second in range(200):
            write(sink, range(5 * second, 5 * second + 5))
            sink.flush()

    with pytest.raises(SinkFull, match=r"the disk is full \(No space left on device\)"):
        write_until_full()
    sink.close()
    assert not list(small_disk.rglob("*.part"))
    if url.startswith("hls"):
        parts = [small_disk / name for name in _told(small_disk / "index.m3u8")]
        joined = b"".join(path.read_bytes() for path in parts)
        (tmp_path / "all.mp4").write_bytes(joined)
        assert decoded(tmp_path / "all.mp4")[0] == [n % 30 for n in range(5 * (len(parts) - 1))]
    else:
        files = [path for path in sorted(small_disk.glob("*.mp4")) if path.stat().st_size]
        numbers = [number for path in files for number in decoded(path)[0]]
        assert numbers == [n % 30 for n in range(len(numbers))]
        assert len(numbers) > 5 * (len(files) - 1)


def _told(playlist: Path) -> list[str]:
    """The files a playlist names, its header first."""
    text = playlist.read_text()
    return [text.partition('URI="')[2].partition('"')[0]] + [
        line for line in text.splitlines() if not line.startswith("#")
    ]
