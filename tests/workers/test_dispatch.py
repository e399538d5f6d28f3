"""Which worker gets which frames, and what happens to them when it is lost."""

from dataclasses import dataclass

import pytest

from workers.dispatch import Call, Dispatcher
from workers.members import Load, Member
from workers.waiting import Wants

A0, A1 = Member("a", 0), Member("a", 1)
B0 = Member("b", 0)
IDLE = Load(0, 0.1)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def dispatcher(clock: Clock, *members: Member, **changes: object) -> Dispatcher:
    options: dict[str, object] = {"max_batch": 4, "max_wait_s": 0.01}
    made = Dispatcher(**{**options, **changes}, clock=clock)  # type: ignore[arg-type]
    made.set_members(dict.fromkeys(members, IDLE))
    return made


def sent(made: Dispatcher) -> list[tuple[Member, tuple[int, ...]]]:
    return [(call.member, call.tickets) for call in made.calls()]


def only(calls: list[Call]) -> Call:
    assert len(calls) == 1
    return calls[0]


def test_a_frame_goes_to_an_idle_worker_at_once(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    made.add(1)
    assert sent(made) == [(A0, (1,))]


def test_frames_that_wait_travel_in_one_call(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    for ticket in (1, 2, 3):
        made.add(ticket)
    assert sent(made) == [(A0, (1, 2, 3))]


def test_beside_a_busy_worker_frames_wait_for_each_other_until_the_window_ends(
    clock: Clock,
) -> None:
    made = dispatcher(clock, A0)
    made.add(1)
    made.calls()
    made.add(2)
    assert sent(made) == []
    clock.now = 0.004
    made.add(3)
    assert made.wake_in() == pytest.approx(0.006)
    clock.now = 0.010
    assert sent(made) == [(A0, (2, 3))]


def test_a_full_call_does_not_wait(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    made.add(0)
    made.calls()
    for ticket in range(1, 6):
        made.add(ticket)
    assert sent(made) == [(A0, (1, 2, 3, 4))]


def test_a_busy_worker_has_two_messages_that_are_not_full_and_then_the_next_when_one_is_back(
    clock: Clock,
) -> None:
    made = dispatcher(clock, A0)
    calls = []
    for ticket in range(2):
        clock.now += 0.01
        made.add(ticket)
        clock.now += 0.01
        calls += made.calls()
    assert [call.tickets for call in calls] == [(0,), (1,)]
    made.add(2)
    clock.now += 10.0
    made.add(3)
    assert made.calls() == []
    assert made.wake_in() is None  # only an answer, or a message's worth of frames, moves it
    made.answered(calls[0].call_id, Load(1, 0.1))
    assert sent(made) == [(A0, (2, 3))]
    for ticket in range(4, 9):
        made.add(ticket)
    assert sent(made) == [(A0, (4, 5, 6, 7))]


def test_frames_for_a_machine_without_room_wait_and_none_is_dropped(clock: Clock) -> None:
    near, far = Member("a", 0, node="near"), Member("b", 0, node="far")
    made = dispatcher(clock, near, far, node="near", max_batch=1)
    made.room.most = {"near": 100.0, "far": 25.0}
    for ticket in range(8):
        made.add(ticket, 20)
    calls = made.calls()
    assert [call.member for call in calls] == [near, far, near, near, near]  # 100 bytes from here
    assert made.wake_in() is None
    made.answered(calls[0].call_id, IDLE)
    (one,) = made.calls()
    assert (one.member, one.tickets) == (near, (5,))  # to `far` another 20 would be too many
    for call in (*calls[1:], one):
        made.answered(call.call_id, IDLE)
    assert [call.tickets for call in made.calls()] == [(6,), (7,)]


def test_frames_go_to_workers_of_their_model_alone(clock: Clock) -> None:
    new = Member("c", 0, model=1)
    made = dispatcher(clock, A0, new)
    made.add(1, stream="a")
    made.add(2, stream="b", wants=Wants(model=1))
    assert sorted(sent(made)) == [(A0, (1,)), (new, (2,))]


def test_a_stream_that_is_forgotten_takes_its_frames_along_wherever_they_are(
    clock: Clock,
) -> None:
    made = dispatcher(clock, A0, B0, max_losses=9)
    made.add(1, stream="a")
    made.add(2, stream="b")
    call = only(made.calls())
    made.add(3, stream="a")
    assert made.forget("a") == [1, 3]
    made.lost(call.call_id)
    assert sent(made) == [(B0, (2,))]
    assert made.forget("b") == [2]
    made.set_members({})
    assert (made._items, made._waiting.wanted, made._open) == ({}, [], {})


def test_the_worker_that_will_be_done_first_is_chosen(clock: Clock) -> None:
    made = dispatcher(clock)
    made.set_members({A0: Load(4, 0.1), B0: Load(1, 0.5)})  # 0.5 s against 1.0 s
    made.add(1)
    clock.now = 0.01
    assert sent(made) == [(A0, (1,))]


def test_a_worker_on_the_machine_of_the_stream_is_taken_until_it_is_busier_than_the_way_is_long(
    clock: Clock,
) -> None:
    """A frame of 50 MB at 100 MB/s is half a second under way, in which five are done."""
    here, away = Member("b", 0, node="here"), Member("a", 0, node="away")
    made = dispatcher(clock, node="here", network_bytes_per_s=100e6, max_wait_s=0.0, max_batch=1)
    for waiting, taken in [(0, here), (4, here), (6, away)]:
        made.set_members({here: Load(waiting, 0.1), away: IDLE})
        made.add(waiting, 50_000_000)
        call = only(made.calls())
        assert call.member == taken
        made.answered(call.call_id, IDLE)


def test_where_there_is_one_machine_alone_no_way_counts(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0, network_bytes_per_s=1.0)
    made.add(1, 50_000_000)
    assert sent(made) == [(A0, (1,))]


def test_what_was_sent_counts_until_the_worker_reports(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0, max_batch=2)
    for ticket in range(6):
        made.add(ticket)
    assert sent(made) == [(A0, (0, 1)), (B0, (2, 3)), (A0, (4, 5))]


def test_streams_prefer_different_workers_among_equals(clock: Clock) -> None:
    chosen = []
    for spread in range(3):
        made = dispatcher(clock, A0, B0, spread=spread)
        made.add(1)
        chosen.append(only(made.calls()).member)
    assert chosen == [A0, B0, A0]


def test_without_workers_frames_wait_without_waking(clock: Clock) -> None:
    made = dispatcher(clock)
    made.add(1)
    assert made.calls() == []
    assert made.wake_in() is None


def test_an_answer_is_taken_once(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    made.add(1)
    call = only(made.calls())
    assert made.answered(call.call_id, IDLE) is True
    assert made.answered(call.call_id, IDLE) is False


def test_frames_of_a_lost_call_go_to_another_worker_before_newer_ones(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0)
    made.add(1)
    made.add(2)
    call = only(made.calls())
    made.add(3)
    assert made.lost(call.call_id) == []
    assert made.members == {B0}
    assert sent(made) == [(B0, (1, 2, 3))]


def test_the_answer_of_a_lost_call_is_refused(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0)
    made.add(1)
    call = only(made.calls())
    made.lost(call.call_id)
    assert made.answered(call.call_id, IDLE) is False


def test_a_worker_that_lost_a_call_gets_no_more_until_it_is_replaced(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    made.add(1)
    made.lost(only(made.calls()).call_id)
    made.set_members({A0: IDLE})  # the news of its loss has not come round yet
    assert made.calls() == []
    made.set_members({A1: IDLE})
    assert made.members == {A1}
    assert sent(made) == [(A1, (1,))]


def test_a_worker_that_lost_a_call_gets_more_once_it_has_answered_a_question_asked_later(
    clock: Clock,
) -> None:
    made = dispatcher(clock)
    made.set_members({A0: Load(reports=7)})
    made.add(1)
    made.lost(only(made.calls()).call_id)
    for reports in (7, 8):  # the eighth may have been on its way when the call was lost
        made.set_members({A0: Load(reports=reports)})
        assert made.calls() == []
    made.set_members({A0: Load(reports=9)})
    assert sent(made) == [(A0, (1,))]


def test_news_that_were_overtaken_are_not_believed(clock: Clock) -> None:
    made = dispatcher(clock)
    made.set_members({A0: Load(9, 0.1, reports=5), B0: Load(4, 0.1)})
    made.set_members({A0: Load(0, 0.1, reports=4), B0: Load(4, 0.1)})
    made.add(1)
    clock.now = 0.01
    assert sent(made) == [(B0, (1,))]


def test_news_of_a_worker_that_owes_an_answer_count_too(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0)
    made.add(1)
    assert sent(made) == [(A0, (1,))]
    made.set_members({A0: Load(0, 0.1), B0: Load(3, 0.1)})  # the frame has not arrived there
    made.add(2)
    clock.now = 0.01
    assert sent(made) == [(A0, (2,))]
    made.set_members({A0: Load(60, 0.1), B0: Load(3, 0.1)})  # those of other streams have
    made.add(3)
    clock.now = 0.02
    assert sent(made) == [(B0, (3,))]


def test_open_calls_of_a_worker_that_left_are_lost(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    made.add(1)
    call = only(made.calls())
    made.set_members({A1: IDLE})
    assert made.answered(call.call_id, IDLE) is False
    assert sent(made) == [(A1, (1,))]


def test_a_worker_owes_an_answer_from_the_first_frame_it_has_until_it_has_none(
    clock: Clock,
) -> None:
    made = dispatcher(clock, A0, max_batch=1)
    assert made.owed_since() == {}
    made.add(1)
    (first,) = made.calls()
    clock.now = 3.0
    made.add(2)
    (second,) = made.calls()
    assert made.owed_since() == {A0: 0.0}
    clock.now = 5.0
    made.answered(first.call_id, IDLE)
    assert made.owed_since() == {A0: 5.0}
    made.answered(second.call_id, IDLE)
    assert made.owed_since() == {}


def test_a_lost_call_stays_owed_until_the_worker_answers_another_or_is_replaced(
    clock: Clock,
) -> None:
    made = dispatcher(clock, A0)
    made.add(1)
    made.lost(only(made.calls()).call_id)
    assert made.owed_since() == {A0: 0.0}
    made.set_members({A1: IDLE})
    assert made.owed_since() == {}


def test_a_worker_that_is_leaving_answers_what_it_has_and_gets_no_more(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0)
    made.add(1)
    call = only(made.calls())
    assert call.member == A0
    made.set_members({A0: Load(1, 0.1, leaving=True), B0: Load(9, 0.1)})
    made.add(2)
    assert sent(made) == []
    clock.now = 0.01
    assert sent(made) == [(B0, (2,))]
    assert made.answered(call.call_id, IDLE)  # what it says of itself does not call it back
    made.add(3)
    clock.now = 0.02
    assert sent(made) == [(B0, (3,))]
    made.set_members({A0: IDLE, B0: Load(9, 0.1)})
    made.add(4)
    assert sent(made) == [(A0, (4,))]


def test_a_frame_that_lost_two_workers_travels_alone_and_one_at_a_time(clock: Clock) -> None:
    made = dispatcher(clock, A0)
    for generation in range(2):
        made.set_members({Member("a", generation): IDLE})
        for ticket in (1, 2):
            if generation == 0:
                made.add(ticket)
        made.lost(only(made.calls()).call_id)
    made.set_members({Member("a", 2): IDLE})
    first = only(made.calls())
    assert (first.tickets, first.alone) == ((1,), True)
    assert made.wake_in() is None  # nothing to do for the frame that must wait
    made.answered(first.call_id, IDLE)
    second = only(made.calls())
    assert (second.tickets, second.alone) == ((2,), True)


def test_a_frame_that_was_refused_because_another_is_alone_has_lost_nothing(clock: Clock) -> None:
    made = dispatcher(clock, A0, max_losses=3)
    made.add(1)
    for generation in range(2):
        made.set_members({Member("a", generation): IDLE})
        made.lost(only(made.calls()).call_id)
    made.set_members({Member("a", 2): IDLE})
    for _ in range(10):
        call = only(made.calls())
        assert (call.tickets, call.alone) == ((1,), True)
        made.refused(call.call_id, IDLE)
        assert not made.calls()
        assert made.wake_in() == pytest.approx(0.2)
        clock.now += 0.2
    assert sent(made) == [(Member("a", 2), (1,))]
    assert made.lost(call.call_id) == []  # a refused call is over


def test_processes_bring_a_new_worker_what_travels_alone_one_after_another(clock: Clock) -> None:
    """Else the frame of one that ends every worker would take those of others with it."""
    waits = []
    for spread in (0, 1, 4, 8):
        made = dispatcher(clock, A0, spread=spread)
        made.add(1)
        for generation in range(2):
            made.set_members({Member("a", generation): IDLE})
            made.lost(only(made.calls()).call_id)
        made.set_members({Member("a", 2): IDLE})
        waits.append(made.wake_in() or 0.0)
        assert bool(made.calls()) == (spread == 0)
        clock.now += waits[-1]
        assert spread == 0 or only(made.calls()).alone
    assert waits == pytest.approx([0.0, 0.618, 0.472, 0.944])


def test_a_frame_is_given_up_after_its_last_loss_and_others_are_not(clock: Clock) -> None:
    made = dispatcher(clock, A0, max_losses=3)
    made.add(1)
    made.add(2)
    given_up = []
    for generation in range(3):
        made.set_members({Member("a", generation): IDLE})
        given_up.append(made.lost(only(made.calls()).call_id))
    assert given_up == [[], [], [1]]
    made.set_members({Member("a", 3): IDLE})
    assert sent(made) == [(Member("a", 3), (2,))]


def test_an_answered_frame_leaves_no_trace(clock: Clock) -> None:
    made = dispatcher(clock, A0, B0)
    for ticket in range(100):
        made.add(ticket)
        for call in made.calls():
            made.answered(call.call_id, IDLE)
    assert made.wake_in() is None
    assert (made._items, made._waiting.wanted, made._open) == ({}, [], {})
