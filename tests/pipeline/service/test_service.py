"""The run is made what is desired, whatever happened before."""

import threading

import pytest

from pipeline.errors import ConfigError
from pipeline.service.refusals import Conflict, NotFound
from pipeline.stream.commands import Remove, Resume, Suspend

STREET = "synthetic://street?seed=1"


def street(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "url": STREET, **more}


def test_streams_of_the_file_are_the_first_that_are_desired(house) -> None:
    house.sources = [street("a"), street("b")]
    service = house.begin()
    assert not service.ready
    house.step()
    assert house.there == ["a", "b"]
    assert service.ready
    assert [(one.wanted.id, one.counts.state) for one in service.streams()] == [
        ("a", "streaming"),
        ("b", "streaming"),
    ]


def test_what_was_changed_by_hand_comes_back_after_a_restart(house) -> None:
    house.sources = [street("a"), street("b")]
    service = house.begin()
    house.step()
    service.add(street("c"))
    service.remove("a")
    service.pause("b", paused=True)
    house.run = type(house.run)()  # the service was killed, nothing was carried out
    house.begin()
    house.step()
    assert house.there == ["b", "c"]
    assert [(name, type(command)) for name, command in house.run.told] == [("b", Suspend)]


def test_a_stream_that_is_added_runs_at_once_and_its_id_is_taken(house) -> None:
    service = house.begin()
    added = service.add(street("a", min_score=0.25))
    assert (added.wanted.id, added.counts.captured, added.trouble) == ("a", 3, None)
    (plan,) = house.run.streams()
    assert plan.settings.min_score == 0.25
    assert [sink.path for sink in plan.sinks] == [str(house.folder / "a.jsonl")]
    with pytest.raises(Conflict, match=r"^stream 'a' is there already; remove it, or change it$"):
        service.add(street("a"))


def test_a_stream_that_the_run_refuses_is_not_kept(house) -> None:
    service = house.begin()
    house.run.refuse["a"] = "a: cannot open it"
    with pytest.raises(ConfigError, match=r"^a: cannot open it$"):
        service.add(street("a"))
    with pytest.raises(ConfigError, match=r"unknown kind of source nix://"):
        service.add({"id": "b", "url": "nix://x"})
    assert service.streams() == []


def test_pausing_is_told_once_and_again_the_other_way(house) -> None:
    service = house.begin()
    service.add(street("a"))
    service.pause("a", paused=True)
    house.step()
    house.step()
    service.pause("a", paused=False)
    house.step()
    assert [type(command) for _, command in house.run.told] == [Suspend, Resume]


CAMERA = {"id": "a", "url": "rtsp://10.0.0.7/gate", "min_score": 0.5}


def test_a_cameras_settings_change_while_it_runs_and_the_frame_is_named(house) -> None:
    service = house.begin()
    service.add(CAMERA)
    changed = service.change("a", {"min_score": 0.75}, whole=False)
    house.step()
    assert (changed.running, changed.first_frame, house.run.told) == (True, (0, 7), [])
    assert changed.why is None
    assert changed.status.wanted.spec == {**CAMERA, "min_score": 0.75}
    (plan,) = house.run.streams()
    assert plan.settings.min_score == 0.75
    house.run = type(house.run)()  # the service is started again
    house.begin()
    house.step()
    (plan,) = house.run.streams()
    assert plan.settings.min_score == 0.75


def test_null_goes_back_to_the_default_of_a_setting(house) -> None:
    service = house.begin()
    service.add({**CAMERA, "include": [[[0, 0], [9, 0], [9, 9]]], "min_score": 0.75})
    nothing = {"min_score": None, "include": None, "sinks": None, "max_fps": None}
    changed = service.change("a", nothing, whole=False)
    assert changed.status.wanted.spec == {"id": "a", "url": CAMERA["url"]}
    assert house.run.streams()[0].settings.min_score == 0.5
    with pytest.raises(ConfigError, match=r"^stream: url: is missing"):
        service.change("a", {"url": None}, whole=False)


def test_what_cannot_change_while_a_camera_runs_drains_it_and_begins_it_anew(house) -> None:
    service = house.begin()
    service.add(CAMERA)
    house.run.slow = True
    changed = service.change("a", {"url": "rtsp://10.0.0.7/yard"}, whole=True)
    assert (changed.running, changed.first_frame) == (False, None)
    assert changed.why == (
        "stream a: source cannot change while it runs; what can is min_score, max_latency_ms, "
        "segment_every, adaptive, stride, max_fps, classes, include, ignore, sinks"
    )
    house.step()
    house.step()
    assert [(name, type(command)) for name, command in house.run.told] == [("a", Remove)]
    with pytest.raises(ConfigError, match="stride"):
        service.change("a", {"stride": 0}, whole=False)
    del house.run._plans["a"]  # it has drained
    house.step()
    (plan,) = house.run.streams()
    assert (plan.source.url, plan.settings.min_score) == ("rtsp://10.0.0.7/yard", 0.5)


@pytest.mark.parametrize("claim", [{"priority": 1}, {"share": 2.0}])
def test_a_camera_that_is_to_claim_more_or_less_is_begun_anew(house, claim) -> None:
    service = house.begin()
    service.add(CAMERA)
    assert not service.change("a", claim, whole=False).running


def test_sinks_that_cannot_be_opened_leave_what_is_desired_as_it_was(house) -> None:
    service = house.begin()
    service.add(CAMERA)
    house.run.refuse_change = ConfigError("stream a: nobody is there; it goes on as it was")
    with pytest.raises(ConfigError, match=r"nobody is there"):
        service.change("a", {"min_score": 0.75}, whole=False)
    house.step()
    assert service.stream("a").wanted.spec == CAMERA
    assert (house.run.told, service.stream("a").trouble) == ([], None)


def test_a_change_by_the_file_that_cannot_be_is_a_trouble_and_tried_again(house) -> None:
    house.sources = [CAMERA]
    service = house.begin()
    house.step()
    house.run.refuse_change = ConfigError("stream a: nobody is there; it goes on as it was")
    house.sources = [{**CAMERA, "min_score": 0.75}]
    assert service.reload().changed == ("a",)
    house.step()
    assert service.stream("a").trouble == "stream a: nobody is there; it goes on as it was"
    assert (house.there, house.run.told) == (["a"], [])
    house.run.refuse_change = None
    house.step()
    assert house.run.changes == 0  # not at once
    house.now_s += 2.0
    house.step()
    assert (service.stream("a").trouble, house.run.changes) == (None, 1)
    assert house.run.streams()[0].settings.min_score == 0.75


def test_a_file_that_is_being_read_keeps_its_settings(house) -> None:
    service = house.begin()
    service.add(street("a"))
    with pytest.raises(Conflict, match=r"^stream 'a' is a file that is being read"):
        service.change("a", {"stride": 2}, whole=False)
    house.step()
    (plan,) = house.run.streams()
    assert (plan.settings.stride, house.run.told) == (1, [])


def test_a_removed_stream_frees_its_id_when_it_has_drained(house) -> None:
    service = house.begin()
    service.add(street("a"))
    house.run.slow = True
    service.remove("a")
    with pytest.raises(Conflict, match=r"^stream 'a' is being removed; ask again in a moment$"):
        service.add(street("a"))
    with pytest.raises(NotFound, match=r"^stream 'a' is not known; there is none$"):
        service.stream("a")
    house.step()
    del house.run._plans["a"]
    house.step()
    service.add(street("a"))
    assert house.there == ["a"]


def test_what_cannot_be_taken_in_says_why_and_is_tried_again_ever_more_seldom(house) -> None:
    house.sources = [street("a"), street("b")]
    house.run.refuse["a"] = "a: cannot open it"
    service = house.begin()
    house.step()
    assert house.there == ["b"]
    assert service.stream("a").trouble == "a: cannot open it"
    assert service.ready  # whatever can be there is
    tried = []
    add = house.run.add
    house.run.add = lambda plan: (tried.append(house.now_s), add(plan))
    for house.now_s in range(200):
        house.step()
    assert tried == [2, 7, 22, 82, 142]
    house.run.refuse.clear()
    house.now_s = 202
    house.step()
    assert house.there == ["b", "a"]
    assert service.stream("a").trouble is None


def test_a_file_that_is_wrong_changes_nothing(house) -> None:
    house.sources = [street("a")]
    service = house.begin()
    house.step()
    house.sources = [street("b"), {"id": "c", "url": "nix://x"}]
    with pytest.raises(ConfigError, match="unknown kind of source"):
        service.reload()
    house.step()
    assert house.there == ["a"]
    house.sources = [street("b")]
    service.reload()
    house.step()
    house.step()
    assert house.there == ["b"]


def test_who_may_come_in_changes_with_a_file_that_is_right_and_not_before(house) -> None:
    service = house.begin()
    admitted = []
    service._admit = admitted.append
    house.serve = {"hosts": ["masks.example.org"]}
    house.sources = [{"id": "c", "url": "nix://x"}]
    with pytest.raises(ConfigError):
        service.reload()
    assert admitted == []
    house.sources = [street("b")]
    service.reload()
    assert [one.hosts for one in admitted] == [("masks.example.org",)]


def test_a_token_that_cannot_be_read_leaves_the_streams_as_they_were(house) -> None:
    house.sources = [street("a")]
    service = house.begin()
    house.step()

    def refuse(_: object) -> None:
        raise ConfigError("serve.token_file: token: can be read by everybody; chmod 600 token")

    service._admit = refuse
    house.sources = [street("b")]
    with pytest.raises(ConfigError, match="chmod 600"):
        service.reload()
    house.step()
    assert house.there == ["a"]


def test_a_clock_that_jumps_back_changes_no_order_of_what_happened(house, monkeypatch) -> None:
    service = house.begin()
    for now_s, name in ((2000.0, "a"), (1000.0, "b")):
        monkeypatch.setattr("pipeline.service.service.time.time", lambda at_s=now_s: at_s)
        service.add(street(name))
        service._note_states()
    happened = [(one.number, one.at_s, one.name) for one in service.history.since(0)]
    assert happened == [(1, 2000.0, "a"), (2, 2000.0, "local"), (3, 1000.0, "b")]


def test_it_lives_while_the_run_is_watched_over(house) -> None:
    service = house.begin()
    assert (service.alive, service.ready) == (True, True)
    house.run.healthy = False
    assert (service.alive, service.ready) == (False, False)


def test_who_asks_how_it_is_waits_for_no_change(house) -> None:
    house.sources = [street("a")]
    service = house.begin()
    house.step()
    hangs, let_go = threading.Event(), threading.Event()
    house.run.add = lambda plan: (hangs.set(), let_go.wait(20))
    change = threading.Thread(target=service.add, args=[street("b")])
    change.start()
    asked = threading.Thread(target=lambda: seen.append((service.ready, len(service.streams()))))
    seen: list[tuple[bool, int]] = []
    assert hangs.wait(20)
    asked.start()
    asked.join(20)
    assert seen == [(True, 1)]
    let_go.set()
    change.join(20)
