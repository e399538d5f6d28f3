"""The image is built as a person builds it, and does in a container what it does outside."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

import containers
from containers import UNPRIVILEGED, free_ports, until
from http_camera import http_camera
from upgraded import BEFORE, CONFIG, NEXT, Upgraded

HERE = Path(__file__).parent
pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

COMPOSE = containers.ROOT / "deploy" / "compose" / "compose.yaml"
SERVICE = "maskstream_maskstream_1"
ASK = """
import sys, urllib.request as r
asked = r.Request(sys.argv[1], headers={"Authorization": "Bearer " + sys.argv[2]})
print(r.urlopen(asked, timeout=5).read().decode())
"""
PROMETHEUS = (
    "/usr/bin/prometheus",
    "--config.file=/etc/prometheus/prometheus.yml",
    "--storage.tsdb.path=/prometheus",
)
CADDY = ("/usr/bin/caddy", "run", "--adapter=caddyfile", "--config=/etc/caddy/Caddyfile")
TOKENS = {"token": "0123456789abcdef-admin", "read-token": "0123456789abcdef-read"}
PLAY = (
    "ffmpeg -v error -i /clips/street.mp4 -c copy -bsf:v h264_mp4toannexb,h264_metadata=aud=insert"
    " /tmp/s.h264 && exec python3 /rtsp_server.py --file /tmp/s.h264 --address 0.0.0.0 --port 8554"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, gstreamer: None) -> Iterator[Any]:
    """A podman that has built the image."""
    if os.geteuid():
        pytest.skip("needs root to run containers")
    if missing := [name for name in containers.PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)}; install it with tests/servers/install.sh")
    machine = containers.Containers(tmp_path_factory.mktemp("containers"))
    try:
        machine.build()
        yield machine
    finally:
        machine.close()


def test_the_demo_runs_unprivileged_on_a_read_only_root(machine: Any) -> None:
    demo = ("demo", "--local", "--frames", "10", "--quiet")
    told = machine.run(*UNPRIVILEGED, containers.IMAGE, *demo)
    assert "10 frames tracked" in told
    assert "out/demo/street.jsonl" in told


def test_nothing_but_what_it_is_made_of_is_in_the_image(machine: Any) -> None:
    """No tests, no settings of who built it; uid 1000 owns what it writes and nothing else."""
    look = "import os; print(os.getuid(), *sorted(os.listdir('.')), sep='|')"
    assert machine.run("--entrypoint=python", containers.IMAGE, "-c", look) == "1000\n"
    installed = machine.run("--entrypoint=ls", containers.IMAGE, containers.SITE).split()
    assert {"maskstream", "pipeline", "workers"} <= set(installed)
    assert not {"tests", "benchmarks", "docs"} & set(installed)


RAY = (
    "exec python -m ray.scripts.scripts start --head --block --port=6379 --num-gpus=0"
    " --object-store-memory=200000000 --disable-usage-stats --node-ip-address=$(hostname -i)"
)
POD = """
model: {name: maskrcnn_resnet18_fpn, weights: demo}
sources: [{id: street, url: "synthetic://street?frames=100000", max_fps: 5}]
sinks: ["jsonl:out/{source}.jsonl"]
run: {state_dir: state}
"""


def test_the_service_joins_the_ray_beside_it_as_in_a_pod_of_kubernetes(machine: Any) -> None:
    """Two containers that share what raycluster.yaml has them share; Ray asks for a token."""
    folder = machine.folder / "pod"
    for name in ("tmp", "state", "settings"):
        (folder / name).mkdir(parents=True)
        os.chown(folder / name, 1000, 1000)
    (folder / "settings" / "maskstream.yaml").write_text(POD)
    token = "--env=RAY_AUTH_TOKEN=" + 32 * "7"
    mounts = {"tmp": "/tmp", "state": "/var/lib/maskstream", "settings": "/etc/maskstream"}
    shared = [*machine.volumes(), *UNPRIVILEGED[:-1], token]
    shared += [f"--volume={folder / name}:{place}" for name, place in mounts.items()]
    start = ("--ipc=shareable", "--shm-size=512m", "--env=RAY_AUTH_MODE=token")
    command = ("--entrypoint=bash", containers.IMAGE, "-c", RAY)
    machine.podman("run", "--detach", "--name=head", *shared, *start, *command)
    until(lambda: list(folder.glob("tmp/ray/session_*/sockets/raylet")))
    address = machine.podman("exec", "head", "hostname", "-i").strip()
    beside = [f"--{space}=container:head" for space in ("network", "pid", "ipc")]
    serve = (containers.IMAGE, "serve", "/etc/maskstream/maskstream.yaml")
    machine.podman(
        *("run", "--detach", "--name=service", "--restart=on-failure", *shared, *beside),
        *(*serve, f"--address={address}:6379"),
    )
    written = folder / "state" / "out" / "street.jsonl"
    try:
        until(lambda: written.is_file() and written.read_text().count("\n") > 3)
        machine.podman("stop", "--time=60", "service")
        assert machine.podman("inspect", "--format={{.State.ExitCode}}", "service") == "0\n"
    finally:
        for name in ("service", "head"):  # its network goes last
            machine.podman("rm", "--force", "--volumes", "--ignore", "--time=0", name)


@pytest.fixture
def upgraded(machine: Any) -> Iterator[Upgraded]:
    (machine.folder / "upgraded").mkdir()
    (machine.folder / "upgraded" / "maskstream.yaml").write_text(CONFIG)
    yield Upgraded(machine, *free_ports(1))
    machine.podman("rm", "--force", "--ignore", "--time=0", "upgraded")
    machine.podman("volume", "rm", "upgraded")


def test_a_later_image_takes_the_volume_over_and_an_earlier_one_refuses_what_it_does_not_know(
    upgraded: Upgraded,
) -> None:
    upgraded.machine.layer(NEXT, "localhost/maskstream:next")
    with http_camera(10) as camera:
        upgraded.start(containers.IMAGE)
        until(upgraded.is_ready)
        url = f"http://127.0.0.1:{camera}/"
        upgraded.ask("/v1/streams", "POST", id="gate", url=url, live=True, min_score=0.4)
        upgraded.ask("/v1/streams", "POST", id="yard", url=url, live=True)
        upgraded.ask("/v1/streams/yard/pause", "POST")
        before = upgraded.streams()
        assert [paused for _, paused, _ in before.values()] == [False, True]
        assert upgraded.stop()[0] == "0"
        frames = upgraded.frames()

        upgraded.change(BEFORE)
        upgraded.start("localhost/maskstream:next")
        assert upgraded.streams() == before
        assert upgraded.ask("/openapi.json")["info"]["version"] == "99.0.0"
        assert upgraded.ask("/v1/model")["name"] == "blob"  # its table is there again
        assert upgraded.stop()[0] == "0"
        both = upgraded.frames()
        assert both[: len(frames)] == frames
        assert both[len(frames)] > frames[-1]
        assert len(set(both)) == len(both)

        upgraded.change("PRAGMA user_version = 99;")
        upgraded.start(containers.IMAGE)
        until(lambda: upgraded.machine.podman("ps", "--quiet", "--filter=name=upgraded") == "")
        code, said = upgraded.stop()
        assert code != "0"
        assert said[-1].endswith(
            "service.sqlite: is of version 99, this maskstream knows 2; go on with the maskstream "
            "that wrote it, or move the file away"
        )
        assert len(said) == 1


@dataclass(frozen=True)
class Composed:
    """What compose.yaml has brought up but Grafana, and a container beside it that asks."""

    machine: Any
    port: int
    """Of the proxy, on loopback."""

    def ask(self, url: str) -> Any:
        """What is answered there, asked with the token of those who may look."""
        words = ("exec", "asker", "python", "-c", ASK, url, TOKENS["read-token"])
        return json.loads(self.machine.podman(*words))

    def published(self) -> int:
        """How many frames of the camera, since the service has started."""
        counted = self.ask("http://maskstream:8710/v1/streams/street")["accounting"]
        return 0 if counted is None else int(counted["published"])

    def records(self) -> list[dict[str, Any]]:
        """What the service has written to its volume, up to the last whole line."""
        inspect = ("volume", "inspect", "--format={{.Mountpoint}}", "maskstream_state")
        file = Path(self.machine.podman(*inspect).strip(), "out", "street.jsonl")
        *lines, _ = file.read_text().split("\n")
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def composed(machine: Any) -> Iterator[Composed]:
    """Images of others are programs of this machine under their names."""
    machine.stand_in(images()["prometheus"], *PROMETHEUS)
    machine.stand_in(images()["camera"], "/bin/sh", "-c", PLAY)
    machine.stand_in(images()["proxy"], "/usr/bin/env", "XDG_DATA_HOME=/data", *CADDY)
    added = machine.folder / "added.yaml"
    added.write_text(yaml.safe_dump(additions(machine)))
    compose = [str(Path(sys.executable).with_name("podman-compose"))]
    compose += [f"--file={COMPOSE}", f"--file={added}"]
    names = ("MASKSTREAM_PORT", "PROMETHEUS_PORT")
    ports = {name: str(port) for name, port in zip(names, free_ports(2), strict=True)}
    up = ("up", "--detach", "proxy", "prometheus")
    asker = ("--name=asker", "--network=maskstream_watchers", "--entrypoint=sleep")
    try:
        machine.command(*compose, *up, **ports)
        machine.podman("run", "--detach", *asker, containers.IMAGE, "600")
        yield Composed(machine, int(ports["MASKSTREAM_PORT"]))
        print(machine.podman("logs", SERVICE))
        machine.podman("rm", "--force", "--volumes", "--time=0", "asker")
    finally:
        machine.command(*compose, "down", "--volumes", **ports)
    assert machine.podman("ps", "--all", "--quiet") == ""
    assert machine.podman("volume", "ls", "--quiet") == ""


def images() -> dict[str, str]:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    return {name: service["image"] for name, service in services.items()}


def additions(machine: Any) -> dict[str, Any]:
    """What a machine without a registry adds: packages, its own programs, and the secrets."""
    here = [f"{path}:{path}:ro" for path in containers.OF_THIS_MACHINE]
    camera = [*here, f"{HERE / 'rtsp_server.py'}:/rtsp_server.py:ro"]
    volumes = {"maskstream": list(machine.packages), "clip": list(machine.packages)}
    volumes |= {"camera": camera, "prometheus": here, "proxy": here}
    for name, token in TOKENS.items():
        path = machine.folder / name
        path.write_text(token + "\n")
        path.chmod(0o600)
        os.chown(path, 1000, 1000)
    return {
        "services": {name: {"volumes": added} for name, added in volumes.items()},
        "secrets": {name: {"file": str(machine.folder / name)} for name in TOKENS},
    }


def test_a_camera_in_another_container_is_segmented_and_prometheus_sees_it(
    composed: Composed,
) -> None:
    until(lambda: composed.published() > 5)
    assert composed.ask("http://maskstream:8710/v1/streams/street")["state"] == "streaming"
    composed.machine.podman("healthcheck", "run", SERVICE)
    query = "http://prometheus:9090/api/v1/query?query=maskstream_frames_published_total>0"
    (seen,) = until(lambda: composed.ask(query)["data"]["result"])
    assert (seen["metric"]["job"], seen["metric"]["source_id"]) == ("maskstream", "street")
    groups = composed.ask("http://prometheus:9090/api/v1/rules")["data"]["groups"]
    assert {rule["health"] for rule in groups[0]["rules"]} == {"ok"}


def test_who_shows_a_token_gets_in_by_the_proxy_as_a_browser_does(composed: Composed) -> None:
    here = f"https://localhost:{composed.port}"
    with httpx2.Client(base_url=here, verify=False, headers={"Origin": here}) as browser:
        assert browser.get("/v1/streams").status_code == 401
        entered = browser.post("/v1/session", json={"token": TOKENS["token"]})
        assert entered.is_success, entered.text
        assert [stream["id"] for stream in browser.get("/v1/streams").json()] == ["street"]


def test_a_service_that_is_stopped_drains_within_its_time(composed: Composed) -> None:
    until(lambda: composed.published() > 0)
    composed.machine.podman("stop", "--time=60", SERVICE)
    try:
        code = composed.machine.podman("inspect", "--format={{.State.ExitCode}}", SERVICE)
        assert code == "0\n"
        *_, end = composed.records()
        assert (end["schema"], end["outcome"]) == ("maskstream.end/1", "complete")
        assert end["accounting"]["in_flight"] == 0
    finally:
        composed.machine.podman("start", SERVICE)


def test_one_that_is_killed_has_its_streams_again_and_uses_no_number_twice(
    composed: Composed,
) -> None:
    until(lambda: composed.published() > 0)
    composed.machine.podman("kill", "--signal=KILL", SERVICE)
    composed.machine.podman("wait", SERVICE)  # what still counts as running is not started
    before = len(composed.records())
    composed.machine.podman("start", SERVICE)
    until(lambda: composed.published() > 5)
    frames = [one for one in composed.records() if one["schema"] == "maskstream.frame/1"]
    keys = [(frame["epoch"], frame["frame"]) for frame in frames]
    assert len(keys) > before
    assert len(keys) == len(set(keys))
