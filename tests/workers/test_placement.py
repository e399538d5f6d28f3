"""Which node a worker goes to."""

from collections import Counter
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.plan.cluster import ClusterPlan
from workers.placement import Node, Placing

HERE = Node("a", "10.0.0.1", cores=4, here=True)
THERE = Node("b", "10.0.0.2", cores=4)
LARGE = Node("c", "10.0.0.3", cores=16)
TWO_GPUS = Node("g", "10.0.0.4", cores=16, gpus=2)
FOUR_GPUS = Node("h", "10.0.0.5", cores=16, gpus=4, labels={"role": "segment"})


def placement(segment: Any = "auto", gpus_each: float | None = None, **plan: Any) -> Placing:
    return Placing(ClusterPlan(**plan), segment, gpus_each)


def placed(made: Placing, nodes: list[Node], count: int) -> list[str]:
    taken: Counter[str] = Counter()
    for _ in range(count):
        if (node := made.for_segment(nodes, taken)) is not None:
            taken[node.node_id] += 1
    return sorted(taken.elements())


def test_on_one_machine_without_gpus_auto_is_one_worker_with_its_cores() -> None:
    made = placement()
    assert made.wanted([HERE]) == 1
    assert (made.share([HERE]), made.threads(HERE, [HERE])) == (0.0, 4)


def test_without_gpus_auto_is_one_worker_a_node_with_the_cores_of_that_node() -> None:
    nodes, made = [HERE, THERE, LARGE], placement()
    assert made.wanted(nodes) == 3
    assert placed(made, nodes, 3) == ["a", "b", "c"]
    assert [made.threads(node, nodes) for node in nodes] == [4, 4, 14]


def test_auto_is_one_worker_a_gpu_of_all_nodes_and_none_beside_them() -> None:
    nodes, made = [HERE, TWO_GPUS, FOUR_GPUS], placement()
    assert (made.wanted(nodes), made.share(nodes)) == (6, 1.0)
    assert placed(made, nodes, 7) == ["g", "g", "h", "h", "h", "h"]


@pytest.mark.parametrize(
    ("gpus_each", "wanted"), [(0.5, 12), (1 / 3, 18), (0.6, 6), (None, 6)], ids=str
)
def test_a_gpu_is_shared_by_as_many_as_fit_on_it_alone(
    gpus_each: float | None, wanted: int
) -> None:
    assert placement(gpus_each=gpus_each).wanted([TWO_GPUS, FOUR_GPUS]) == wanted


@pytest.mark.parametrize(("segment", "share"), [(1, 1.0), (2, 1.0), (3, 0.5), (5, 1 / 3)], ids=str)
def test_more_workers_than_gpus_share_them_so_that_all_fit(segment: int, share: float) -> None:
    made = placement(segment)
    assert made.share([TWO_GPUS]) == pytest.approx(share)
    assert len(placed(made, [TWO_GPUS], segment)) == segment
    assert made.missing_gpus([TWO_GPUS]) == 0


def test_gpus_that_are_missing_are_counted_and_workers_wait_for_room() -> None:
    made = placement(5, gpus_each=1.0)
    assert made.missing_gpus([HERE, TWO_GPUS]) == 3
    assert placed(made, [HERE, TWO_GPUS], 5) == ["g", "g"]
    assert made.missing([HERE, TWO_GPUS]) == (
        "5 segment workers: 3 GPUs are missing; waiting for them, --allow-fewer begins with those "
        "there are"
    )
    assert placement(5, gpus_each=1.0, allow_fewer=True).missing([HERE, TWO_GPUS]) is None
    assert placement(5, gpus_each=1.0, allow_fewer=True).missing([HERE]) is not None  # no worker
    assert made.missing_gpus([HERE, TWO_GPUS, FOUR_GPUS]) == 0
    assert placement("auto", gpus_each=1.0).missing([HERE]) == (
        "1 segment worker: 1 GPU is missing; waiting for it, --allow-fewer begins with those there "
        "are"
    )
    assert made.missing([HERE, TWO_GPUS, FOUR_GPUS]) is None


def test_gpus_that_cannot_come_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        placement(5, gpus_each=1.0).refuse_missing([TWO_GPUS])
    assert str(caught.value) == (
        "workers.segment: 5 segment workers: 3 GPUs are missing; --allow-fewer runs with those "
        "there are"
    )
    placement(5, gpus_each=1.0, allow_fewer=True).refuse_missing([TWO_GPUS])
    with pytest.raises(ConfigError, match=r"^workers\.gpus_each: this machine has no GPU;"):
        placement("auto", gpus_each=0.5, allow_fewer=True).refuse_missing([HERE])


def test_labels_keep_segment_workers_off_other_nodes() -> None:
    made = placement(3, segment_labels={"role": "segment"})
    assert placed(made, [HERE, TWO_GPUS, FOUR_GPUS], 3) == ["h", "h", "h"]


def test_stream_workers_spread_by_cores_and_the_driver_comes_first_among_equals() -> None:
    made, taken = placement(), Counter[str]()
    for _ in range(6):
        node = made.for_stream([THERE, HERE, LARGE], taken, stays=False)
        assert node is not None
        taken[node.node_id] += 1
    assert taken == {"c": 4, "a": 1, "b": 1}


def test_a_stream_whose_files_lie_here_stays_here() -> None:
    made = placement(stream_labels={"role": "decode"})
    assert made.for_stream([THERE, HERE], {"a": 100}, stays=True) is HERE


def test_a_node_that_does_not_see_the_shared_folders_gets_no_stream() -> None:
    blind = Node("b", "10.0.0.2", cores=400, shares=False)
    assert placement().for_stream([HERE, blind], {}, stays=False) is HERE


def test_a_node_gets_no_more_streams_than_it_has_of_the_resource() -> None:
    made = placement(stream_resource="decode")
    node = Node("b", "10.0.0.2", cores=4, resources={"decode": 2.0})
    places = [made.for_stream([HERE, node], {"b": taken}, stays=False) for taken in range(3)]
    assert places == [node, node, None]


def test_labels_that_no_node_has_are_refused_with_those_there_are() -> None:
    made = placement(segment_labels={"role": "segments"})
    with pytest.raises(ConfigError) as caught:
        made.refuse_unknown([HERE, FOUR_GPUS], may_come=True)
    assert str(caught.value) == (
        "cluster.segment_labels: no node has role=segments; the labels of all nodes are "
        "role=segment; give them by `ray start --labels`"
    )


def test_a_resource_that_no_node_has_is_refused() -> None:
    made = placement(stream_resource="decode")
    with pytest.raises(ConfigError, match=r"^cluster\.stream_resource: no node has 'decode'"):
        made.refuse_unknown([HERE, THERE], may_come=True)


def growing(
    segment: int, gpus_each: float | None = None, *, wants_gpu: bool = True, **plan: Any
) -> Placing:
    return Placing(ClusterPlan(**plan), segment, gpus_each, wants_gpu=wants_gpu, grows=True)


def test_a_fleet_that_grows_waits_for_nodes_with_its_labels_where_nodes_may_come() -> None:
    made = growing(1, wants_gpu=False, segment_labels={"role": "segment"})
    made.refuse_unknown([HERE, THERE], may_come=True)
    assert made.missing([HERE, THERE]) == "no node has role=segment yet; waiting for one"
    assert made.missing([HERE, FOUR_GPUS]) is None
    with pytest.raises(ConfigError, match="no node has role=segment;"):
        made.refuse_unknown([HERE, THERE], may_come=False)


def test_a_fleet_that_grows_has_whole_gpus_however_many_it_begins_with() -> None:
    assert growing(4).share([TWO_GPUS]) == 1.0
    assert growing(4, 0.25).share([TWO_GPUS]) == 0.25


def test_without_gpus_a_fleet_that_grows_has_one_worker_a_node_as_nodes_join() -> None:
    made, nodes = growing(1, wants_gpu=False), [HERE, THERE]
    assert placed(made, nodes, 3) == ["a", "b"]
    assert placed(made, [*nodes, LARGE], 4) == ["a", "b", "c"]
    assert made.threads(HERE, nodes) == 4


def test_what_a_cluster_is_asked_for_is_what_a_worker_takes_of_it() -> None:
    assert growing(1, 0.5).takes([HERE, TWO_GPUS]) == {"GPU": 0.5}
    assert growing(1, wants_gpu=False).takes([LARGE, THERE]) == {"CPU": 4.0}
    labelled = growing(1, wants_gpu=False, segment_labels={"role": "segment"})
    assert labelled.takes([HERE, FOUR_GPUS]) == {"CPU": 16.0}
    assert labelled.takes([HERE, LARGE]) == {"CPU": 4.0}
