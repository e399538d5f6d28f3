"""The Ray a run starts for itself: what it imports, what listens, who may look, what stays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

WriteClip = Callable[[str, int], Path]
COMMAND = Path(sys.executable).with_name("maskstream")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
NOBODY = 65534
LEAVES = "open({trace!r}, 'a').write(__name__ + ' ')\nraise SystemExit(3)\n"
NAMES = [
    *("pipeline/__init__", "workers", "maskstream", "ray", "google/__init__"),
    *("numpy", "av", "cv2", "torch", "psutil", "grpc", "setproctitle"),
    *("json", "typing", "logging", "sitecustomize", "usercustomize"),
]


def put_modules(folder: Path, names: list[str], trace: Path) -> None:
    """Modules that leave a trace where they are imported, and then end the process."""
    for name in names:
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(LEAVES.format(trace=str(trace)))


def maskstream(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a working folder."""
    return subprocess.run(
        [COMMAND, *words],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


TRACK = ("track", "clip.mp4", "--model", "blob", "--output", "out")


@pytest.fixture
def clip(write_clip: WriteClip, tmp_path: Path) -> Path:
    """A clip in a working folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    return _copied(write_clip("clip.mp4", 30), folder)


def _copied(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    return copy


def expected(clip: Path, elsewhere: Path) -> dict[str, bytes]:
    """What one process writes for the clip, in a folder without anything else in it."""
    elsewhere.mkdir()
    _copied(clip, elsewhere)
    assert maskstream(*TRACK, "--local", cwd=elsewhere).returncode == 0
    return written(elsewhere)


def written(folder: Path) -> dict[str, bytes]:
    """Everything below `out`, by name."""
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_nothing_in_the_working_folder_is_imported_whatever_its_name_also_below_uv_run(
    clip: Path, tmp_path: Path
) -> None:
    trace, folder, uv = tmp_path / "trace", clip.parent, tmp_path / "uv"
    put_modules(folder, NAMES, trace)
    uv.mkdir()
    (uv / "run").write_text(f'cd "{folder}"; "{COMMAND}" {" ".join(TRACK)}; exit $?')
    # Ray asks whether it is below `uv run`, and would then hand the working folder on itself.
    run = subprocess.run(
        ["uv", "run"],
        executable="/bin/bash",
        cwd=uv,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert (run.returncode, trace.exists()) == (0, False), run.stderr
    assert written(folder) == expected(clip, tmp_path / "alone")


def test_nor_is_what_lies_beside_a_script_or_on_pythonpath_without_being_installed(
    clip: Path, tmp_path: Path
) -> None:
    trace, folder, loose = tmp_path / "trace", clip.parent, tmp_path / "loose"
    only_workers = ["av", "cv2"]  # the driver would import the others itself
    for place in (folder / "scripts", loose, folder):
        put_modules(place, only_workers, trace)
    script = folder / "scripts" / "go.py"
    script.write_text(
        "from pipeline.config import parse\nfrom pipeline.plan.resolve import resolve\n"
        "from workers.running import run\n"
        "settings = parse({'model': {'name': 'blob'}, 'sinks': ['jsonl:out/{source}.jsonl'],\n"
        "                  'sources': [{'id': 'clip', 'url': 'clip.mp4'}]})\n"
        "raise SystemExit(run(resolve(settings)).exit_code)\n"
    )
    run = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f":{loose}", "PYTHONOPTIMIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert (run.returncode, trace.exists()) == (0, False), run.stderr
    jsonl = expected(clip, tmp_path / "alone")["clip.jsonl"]
    assert written(folder)["clip.jsonl"] == jsonl


@pytest.fixture
def base() -> Iterator[Path]:
    """A short place for the private folder of a run."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    left = list(folder.iterdir())
    shutil.rmtree(folder)
    assert left == []


@pytest.fixture
def living(base: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in the worst surroundings, as soon as it publishes."""
    worst = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_AUTH_TOKEN": "known-to-many",
        "HOME": "/proc",
        "TMPDIR": str(base),
        "PYTHONWARNINGS": "error",
    }
    source, sink = "synthetic://street?frames=100000&size=160x96", "jsonl:{source}.jsonl"
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [COMMAND, "track", source, "--model", "blob", "--sink", sink],
            cwd=tmp_path,
            env={**os.environ, **worst},
            stderr=log,
        )
    try:
        give_up_at_s = time.monotonic() + 120
        while not any(path.stat().st_size for path in tmp_path.glob("*.jsonl")):
            assert run.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up_at_s
            time.sleep(0.1)
        yield run
    finally:
        run.kill()
        run.wait()


def processes_of(root: int) -> dict[int, str]:
    """A process and all below it, by what the page calls them."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            title = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        words = [Path(word.decode(errors="replace")).name for word in title]
        name = words[0].removeprefix("ray::").partition(".")[0] or "gone"
        scripts = [word for word in words[1:] if word.endswith(".py")]
        names[int(entry.name)] = scripts[0] if name.startswith("python") and scripts else name
    found = {root}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return {pid: "driver" if pid == root else names[pid] for pid in found if pid in names}


def environ_of(root: int, name: str) -> list[str]:
    """The environment of a process of a run."""
    (pid,) = (pid for pid, found in processes_of(root).items() if found == name)
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def listening(pids: dict[int, str]) -> list[tuple[str, str, int]]:
    """Name of the process, address and port of each socket of these that listens."""
    owners: dict[str, str] = {}
    for pid, name in pids.items():
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                owners[os.readlink(fd)] = name
            except OSError:
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            owner = owners.get(f"socket:[{fields[9]}]")
            if fields[3] == "0A" and owner is not None:
                address, _, port = fields[1].partition(":")
                found.append((owner, address, int(port, 16)))
    return found


def on_the_page() -> dict[str, int]:
    """The table of sockets in docs/reliability.md."""
    table = PAGE.read_text(encoding="utf-8").partition("## Ray")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (\d) \|", table, flags=re.MULTILINE)
    return {name: int(count) for name, count in rows}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
METHODS = (
    "NodeInfoGcsService/CheckAlive",
    "NodeInfoGcsService/GetAllNodeInfo",
    "InternalKVGcsService/InternalKVGet",
    "JobInfoGcsService/AddJob",
    "NodeManagerService/RequestWorkerLease",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "CoreWorkerService/PushTask",
    "CoreWorkerService/GetCoreWorkerStats",
    "ReporterService/GetTraceback",
    "RuntimeEnvService/GetOrCreateRuntimeEnv",
)


def asked_by_grpc(port: int) -> set[str]:
    """How a port answers what Ray's processes ask one another, without and with a wrong token."""
    codes = set()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)])
    with channel:
        for method in METHODS:
            for bearer in ([], [("authorization", "Bearer known-to-many")]):
                try:
                    channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=5, metadata=bearer)
                except grpc.RpcError as error:
                    codes.add(error.code().name)
                else:
                    codes.add("OK")
    return codes


def as_nobody(script: str, *args: str) -> str:
    """What a shell script prints when another user of the machine runs it."""
    # Not by `user=`: that forks, and what gRPC has registered for forks may wait for ever.
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        [*(nobody if os.geteuid() == 0 else []), "bash", "-c", script, "bash", *args],
        cwd="/",
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=60,
    )
    return done.stdout


GET = r"""
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit
printf 'GET %s HTTP/1.0\r\nHost: x\r\n\r\n' "$2" >&3
timeout 3 head -n 1 <&3
"""


def test_its_sockets_are_those_of_the_page_and_answer_nobody(
    living: subprocess.Popen[bytes], base: Path
) -> None:
    processes = processes_of(living.pid)
    assert {name for name in processes.values() if name.endswith(".py")} == {"leftovers.py"}
    sockets = listening(processes)
    assert {address for _, address, _ in sockets} <= LOOPBACK
    counted, listed = Counter(name for name, _, _ in sockets), on_the_page()
    assert set(counted) - {"IDLE"} == set(listed)
    assert all(count <= listed.get(name, 1) for name, count in counted.items()), counted
    for name, _, port in sockets:
        assert "OK" not in asked_by_grpc(port), name
        for path in ("/", "/metrics", "/api/version", "/api/job_agent/jobs/"):
            status = as_nobody(GET, str(port), path).split()[1:2]
            assert status in ([], ["401"]), (name, path)
    asked = {name: asked_by_grpc(port) for name, _, port in sockets if name == "gcs_server"}
    assert "UNAUTHENTICATED" in asked["gcs_server"]
    assert "RAY_task_events_report_interval_ms=0" in environ_of(living.pid, "gcs_server")

    (folder,) = base.iterdir()
    base.chmod(0o755)
    assert as_nobody('find "$1" -mindepth 1 2>/dev/null', str(folder)) == "" or os.geteuid() != 0
    assert folder.stat().st_mode & 0o777 == 0o700
    base.chmod(0o700)

    living.send_signal(signal.SIGTERM)
    assert living.wait(60) == 0
    assert list(base.iterdir()) == []


def test_a_run_that_is_told_twice_leaves_no_process_and_no_file(
    living: subprocess.Popen[bytes], base: Path
) -> None:
    pids = processes_of(living.pid)
    frozen = [pid for pid, name in pids.items() if name == "StreamActor"]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)  # so that it cannot drain
    living.send_signal(signal.SIGTERM)
    time.sleep(0.3)  # two of a kind at one moment are one
    living.send_signal(signal.SIGTERM)
    assert living.wait(30) == 1
    assert list(base.iterdir()) == []
    assert still_there_after_5_s(pids) == []


def still_there_after_5_s(pids: dict[int, str]) -> list[str]:
    """Who was killed is there until the kernel has taken it down, which takes it a moment."""
    until_s = time.monotonic() + 5
    while (left := [name for pid, name in pids.items() if _alive(pid)]) and (
        time.monotonic() < until_s
    ):
        time.sleep(0.05)
    return left


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


HEAD = """
import secrets, sys
secrets.token_hex = lambda count: "the-right-one" * 3
import ray
from workers.private import PrivateFolder
from workers.ray_own import start_ray, stop_ray
folder = PrivateFolder()
start_ray(256 << 20, folder)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
stop_ray()
folder.remove()
"""


def test_a_ray_with_a_token_is_joined_with_it_and_paths_are_those_of_the_driver(
    clip: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "head"
    elsewhere.mkdir()
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD],
        cwd=elsewhere,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert head.stdout is not None
        address = head.stdout.readline().strip()
        put_modules(clip.parent, NAMES, tmp_path / "trace")
        (clip.parent / "run.yaml").write_text(
            "{model: {name: blob}, sources: [{id: clip, url: clip.mp4}],"
            " sinks: ['jsonl:out/{source}.jsonl']}"
        )
        words = ("run", "run.yaml", "--address", address)
        run = maskstream(*words, cwd=clip.parent, RAY_AUTH_TOKEN="the-right-one" * 3)
        assert (run.returncode, (tmp_path / "trace").exists()) == (0, False), run.stderr
        jsonl = expected(clip, tmp_path / "alone")["clip.jsonl"]
        assert written(clip.parent)["clip.jsonl"] == jsonl
        wrong = maskstream(*words, "--overwrite", cwd=clip.parent, RAY_AUTH_TOKEN="wrong")
        assert wrong.returncode == 2
        assert "the token from RAY_AUTH_TOKEN is not that of this Ray" in wrong.stderr
    finally:
        head.communicate(timeout=60)
