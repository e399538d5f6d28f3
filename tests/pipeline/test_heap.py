"""What malloc keeps and nobody uses is given back now and then."""

from pipeline.heap import TRIM_EVERY_S, Trimming


def test_it_is_given_back_when_it_is_due_and_not_before() -> None:
    hand = [0.0]
    trim = Trimming(lambda: hand[0])
    done = []
    for hand[0] in range(0, 61, 5):
        done += [hand[0]] * trim()
    assert TRIM_EVERY_S == 15.0
    assert done == [15, 30, 45, 60]
