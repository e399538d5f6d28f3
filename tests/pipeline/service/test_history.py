"""What is otherwise than at the last look is noted, and nothing else."""

from pipeline.service.history import KEPT, Change, History, Standing


def told(history: History, since: int = 0) -> list[tuple[str, str, str | None, str | None]]:
    return [(one.what, one.name, one.was, one.now) for one in history.since(since)]


def test_coming_changing_and_going_are_noted_once_each() -> None:
    history = History()
    streaming = {"a": Standing("streaming")}
    worker = {"gpu-0": Standing("ready")}
    history.look(streaming, worker, at_s=1.0)
    history.look(streaming, worker, at_s=2.0)
    history.look({"a": Standing("stalled")}, worker, at_s=3.0)
    history.look({"b": Standing("starting")}, {"gpu-0": Standing("lost")}, at_s=4.0)
    assert told(history) == [
        ("stream", "a", None, "streaming"),
        ("worker", "gpu-0", None, "ready"),
        ("stream", "a", "streaming", "stalled"),
        ("stream", "a", "stalled", None),
        ("worker", "gpu-0", "ready", "lost"),
        ("stream", "b", None, "starting"),
    ]
    assert told(history, since=5) == [("stream", "b", None, "starting")]


def test_another_reason_for_the_same_state_is_news() -> None:
    history = History()
    history.look({"a": Standing("waiting", "no such file")}, {}, at_s=1.0)
    history.look({"a": Standing("waiting", "no permission")}, {}, at_s=2.5)
    assert history.since(1) == [
        Change(2, 2.5, "stream", "a", "waiting", "waiting", "no permission"),
    ]


def test_of_what_a_camera_answers_the_first_of_each_state_is_news() -> None:
    history = History()
    answers = [None, "refused", "no route", "refused"]
    for answer in answers:
        history.look({"a": Standing("connecting", remark=answer)}, {}, at_s=1.0)
    history.look({"a": Standing("reconnecting", remark="refused")}, {}, at_s=2.0)
    assert [(one.now, one.detail) for one in history.since(0)] == [
        ("connecting", None),
        ("connecting", "refused"),
        ("reconnecting", "refused"),
    ]


def test_the_oldest_entries_go_first() -> None:
    history = History()
    for number in range(KEPT + 3):
        history.look({"a": Standing(str(number))}, {}, at_s=0.0)
    changes = history.since(0)
    assert (len(changes), changes[0].number, changes[-1].number) == (KEPT, 4, KEPT + 3)
