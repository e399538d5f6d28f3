"""What every client may use: who is to blame for a batch, and where in a run a message stands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.delivery.client import Message, Rejected, Unreachable, numbered, together_or_each


def messages(*numbers: int) -> list[Message]:
    return [Message("gate", f"r:gate:0:{n}", b"{}") for n in numbers]


class Service:
    """Takes two of a batch in which one is bad, and refuses the rest of it; or all of it."""

    def __init__(self, *bad: int) -> None:
        self.bad = {f"r:gate:0:{n}" for n in bad}
        self.calls: list[int] = []
        self.taken: list[str] = []

    def send(self, batch: Sequence[Message]) -> None:
        self.calls.append(len(batch))
        keys = [message.key for message in batch]
        if self.bad & set(keys):
            first = 2 if len(batch) > 1 else 0
            self.taken += keys[:first]
            raise Rejected("bad", first)
        self.taken += keys


def test_of_a_batch_that_is_refused_only_who_is_to_blame_is_left_out() -> None:
    service = Service(4)
    with pytest.raises(Rejected) as error:
        together_or_each(messages(0, 1, 2, 3, 4, 5), service.send)
    assert error.value.acknowledged == 4
    assert service.calls == [6, 1, 1, 1]
    assert service.taken == [f"r:gate:0:{n}" for n in range(4)]


def test_a_batch_that_is_taken_or_not_reached_is_sent_once() -> None:
    service = Service()
    together_or_each(messages(0, 1), service.send)
    assert service.calls == [2]

    def away(batch: Sequence[Message]) -> None:
        service.calls.append(len(batch))
        raise Unreachable("away", 1)

    with pytest.raises(Unreachable) as error:
        together_or_each(messages(0, 1), away)
    assert (error.value.acknowledged, service.calls) == (1, [2, 2])


def test_a_key_says_where_in_its_run_a_message_stands() -> None:
    places = [numbered(f"r:gate:{rest}")[1] for rest in ("0:9", "1:0", "1:0:2", "end")]
    assert places == sorted(places)
    assert numbered("r:gate:0:9")[0] == "r:gate"
    for wrong in ("", "r:gate", "r:gate:x:1"):
        with pytest.raises(ValueError, match=r"unpack|invalid literal"):
            numbered(wrong)
