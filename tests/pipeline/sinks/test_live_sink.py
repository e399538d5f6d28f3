"""Pictures sent as they come: the newest one, at a steady rate, whoever listens or does not."""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.accounting import SinkState
from pipeline.errors import ConfigError, SinkError
from pipeline.instances import Instances
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.secrets import Secret
from pipeline.sinks import check_targets, live, open_sink
from pipeline.sinks.live import LiveSink, with_notice
from pipeline.sinks.outgoing import Destination, NotOut

SIZE = (24, 32)
MakeResult = Callable[..., FrameResult]


def grey(value: int, size: tuple[int, int] = SIZE) -> Picture:
    image = np.full((*size, 3), value, np.uint8)
    return Picture(image, Instances.empty(size), {}, lambda image, _, __: image + np.uint8(50))


class Player:
    """The other end: remembers how bright each picture was; may refuse or take its time."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.luma: list[int] = []
        self.ticks: list[int] = []
        self.refusals = 0
        self.unheard = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.changed = threading.Condition()

    def connect(self, size: tuple[int, int]) -> "Player":
        if self.refusals:
            self.refusals -= 1
            raise NotOut("rtsp://nobody: Connection refused")
        self.sizes.append(size)
        return self

    def send(self, i420: NDArray[np.uint8], ticks: int) -> bool:
        assert self.goes_on.wait(10)
        with self.changed:
            self.luma.append(int(i420[SIZE[0] // 2, 0]))
            self.ticks.append(ticks)
            self.changed.notify_all()
        return len(self.luma) > self.unheard

    def close(self) -> None:
        self.sizes.append((0, 0))

    def until(self, ready: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(ready, 10)


@contextmanager
def sending(player: Player, **changes: object) -> Iterator[LiveSink]:
    settings: dict[str, object] = {
        **{"name": "rtsp://tv/gate", "fps": 60.0, "annotated": False, "notice_s": 0.0},
        "rng": random.Random(0),
    }
    sink = LiveSink(player.connect, **(settings | changes))  # type: ignore[arg-type]
    try:
        yield sink
    finally:
        player.goes_on.set()
        sink.close()


def luma(value: int) -> int:
    """Of a grey in the range of video: 16 to 235."""
    return round(16 + value * 219 / 255)


def test_the_newest_picture_is_sent_again_until_there_is_a_newer_one(
    make_result: MakeResult,
) -> None:
    player = Player()
    with sending(player) as sink:
        sink.write(make_result(0), grey(50))
        player.until(lambda: len(player.luma) >= 3)
        sink.write(make_result(1), grey(100))
        sink.write(make_result(2), grey(150))
        player.until(lambda: player.luma[-1] == luma(150))
        assert sink.state() == SinkState("connected", 0)
    assert player.luma[:3] == [luma(50)] * 3
    assert sorted(set(player.ticks)) == player.ticks
    assert {ticks % (90_000 // 60) for ticks in player.ticks} == {0}
    assert player.sizes == [SIZE, (0, 0)]


def test_the_drawn_picture_is_sent_where_it_is_asked_for(make_result: MakeResult) -> None:
    player = Player()
    with sending(player, annotated=True) as sink:
        sink.write(make_result(0), grey(50))
        player.until(lambda: bool(player.luma))
    assert player.luma[0] == luma(100)


def test_later_pictures_are_fitted_into_the_size_of_the_first_made_even(
    make_result: MakeResult,
) -> None:
    player = Player()
    with sending(player) as sink:
        sink.write(make_result(0), grey(50, (23, 31)))
        player.until(lambda: bool(player.luma))
        sink.write(make_result(1), grey(200, (48, 64)))
        player.until(lambda: player.luma[-1] == luma(200))
    assert player.sizes[0] == SIZE


def test_who_is_not_there_is_asked_again_and_said_once(
    make_result: MakeResult, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE_S", 0.01)
    player = Player()
    player.refusals = 3
    with caplog.at_level(logging.WARNING), sending(player) as sink:
        sink.write(make_result(0), grey(50))
        player.until(lambda: len(player.luma) >= 2)
    assert [record.getMessage() for record in caplog.records] == [
        "sink rtsp://nobody: Connection refused; asked again until it takes pictures",
        "sink rtsp://tv/gate takes pictures again",
    ]


def test_it_is_not_connected_before_somebody_takes_pictures(make_result: MakeResult) -> None:
    player = Player()
    player.unheard = 3
    with sending(player) as sink:
        sink.write(make_result(0), grey(50))
        player.until(lambda: len(player.luma) == 2)
        assert sink.state() == SinkState("connecting", 0)
        player.until(lambda: len(player.luma) == 5)
        assert sink.state() == SinkState("connected", 0)


def test_the_stream_waits_for_nobody_and_an_end_that_takes_nothing_is_left_behind(
    make_result: MakeResult, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_LEAVE_S", 0.05)
    now, player = [100.0], Player()
    with caplog.at_level(logging.WARNING), sending(player, clock=lambda: now[0]) as sink:
        sink.write(make_result(0), grey(50))
        player.until(lambda: bool(player.luma))
        player.goes_on.clear()
        now[0] += 1.0  # so that the next picture is due
        while sink._calling_since != 101.0:
            threading.Event().wait(0.001)
        now[0] += 4.9
        sink.write(make_result(1), grey(60))
        assert sink.state().state == "connected"
        now[0] += 0.2
        sink.write(make_result(2), grey(70))
        assert sink.state().state == "behind"
        sink.close()
    assert [record.getMessage() for record in caplog.records][:1] == [
        "sink rtsp://tv/gate: has taken nothing for 5 s; pictures are left out"
    ]


def test_a_thread_that_an_error_ended_ends_the_sink(make_result: MakeResult) -> None:
    class Broken(Player):
        def send(self, i420: NDArray[np.uint8], ticks: int) -> bool:
            raise RuntimeError("no such thing")

    with sending(Broken()) as sink:
        sink.write(make_result(0), grey(50))
        assert sink._thread is not None
        sink._thread.join(10)
        with pytest.raises(SinkError, match="rtsp://tv/gate: RuntimeError: no such thing"):
            sink.write(make_result(1), grey(50))


def test_a_picture_that_has_become_old_says_so(make_result: MakeResult) -> None:
    now = [100.0]
    sink = LiveSink(
        Player().connect,
        **{"name": "x", "fps": 25.0, "annotated": False, "notice_s": 3.0},  # type: ignore[arg-type]
        clock=lambda: now[0],
    )
    picture = grey(100, (120, 160))
    sink._newest = picture, 100.0
    now[0] = 102.9
    assert sink._pixels() is picture.image
    now[0] = 163.2
    assert np.array_equal(sink._pixels(), with_notice(picture.image, "no picture for 63 s"))


def test_a_notice_is_white_on_a_dark_band_at_the_upper_edge() -> None:
    image = np.full((120, 160, 3), 100, np.uint8)
    noted = with_notice(image, "no picture for 3 s")
    changed = (noted != 100).any(axis=(1, 2))
    band = int(changed.sum())
    assert changed[:band].all()
    assert 10 < band < 40
    assert {25} < set(np.unique(noted[:band]))
    assert noted[:band].max() == 255
    assert (image == 100).all()


def test_an_address_shows_neither_password_nor_key() -> None:
    address = Destination("rtmp", "tv", 1935, "live/gate", "me", Secret("p/w"), key=Secret("k3y"))
    assert str(address) == "rtmp://tv:1935/live/gate"
    assert address.reveal() == "rtmp://me:p%2Fw@tv:1935/live/gate/k3y"
    assert str(Destination("rtsp", "::1", None, "a")) == "rtsp://[::1]/a"


def test_two_streams_cannot_have_one_address() -> None:
    url = "rtsp://user:word@tv/live"
    with pytest.raises(ConfigError) as error:
        check_targets([(url, ["a", "b"])])
    assert str(error.value) == (
        "sink 'rtsp://***@tv/live': the sources 'a' and 'b' would send to the same address; put "
        "{source} into the path"
    )
    check_targets([("rtsp://tv/{source}", ["a", "b"]), ("rtmp://tv/{source}", ["a"])])


def test_a_key_that_is_not_there_is_said_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match=r"sink rtmp://tv: the environment has no NO_SUCH \(key_"):
        open_sink("rtmp://tv/live?key_env=NO_SUCH", source_id="a", run="r", labels={})
