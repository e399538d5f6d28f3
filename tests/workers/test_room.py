"""How many bytes may be under way between machines."""

from workers.room import StoreRoom, shared_out


def test_what_is_under_way_counts_for_both_machines_until_it_is_back() -> None:
    room = StoreRoom("here", {"here": 100, "away": 50})
    room.sent("away", 40)
    assert (room.left("away"), room.left("here")) == (10, 60)
    assert room.has("away", 10)
    assert not room.has("away", 11)
    room.back("away", 40)
    assert (room.left("away"), room.left("here")) == (50, 100)


def test_on_its_own_machine_a_frame_counts_once() -> None:
    room = StoreRoom("here", {"here": 100})
    room.sent("here", 60)
    assert room.left("here") == 40


def test_a_frame_that_is_larger_than_all_room_goes_alone() -> None:
    room = StoreRoom("here", {"here": 100})
    assert room.has("here", 500)
    room.sent("here", 500)
    assert not room.has("here", 1)


def test_a_machine_of_which_nothing_is_known_has_room() -> None:
    room = StoreRoom()
    room.sent("", 10**12)
    assert room.has("", 10**12)


def test_half_of_a_machines_memory_is_shared_out_among_those_whose_frames_may_lie_there() -> None:
    stores = {"decodes": 1000.0, "segments": 600.0, "idle": 100.0}
    streams = {"decodes": 2, "segments": 1}
    assert shared_out(stores, streams, {"segments"}) == {
        "decodes": 250.0,  # of the two there
        "segments": 100.0,  # of all three
        "idle": 50.0,
    }
