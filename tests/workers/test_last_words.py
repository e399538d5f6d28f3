"""Why a worker is gone: Ray's texts, as it writes them, and what processes wrote themselves."""

from pathlib import Path

import pytest

from workers.last_words import last_lines, pid_in, why_gone

DEAD = """The actor died unexpectedly before finishing this task.
\tclass_name: SegmentActor
\tactor_id: 87785772efe6fd6d6450316301000000
\tpid: 14131
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR \
Worker exit detail: """
EXITED = f"{DEAD}Worker exits unexpectedly. Worker exits with an exit code "
CRASHED = f"{DEAD}Worker unexpectedly exits with a connection error code 2. End of file. Some \
common causes include: (1) the process was killed by the OOM killer due to high memory usage, ..."
RAISED = """The actor died because of an error raised in its creation task, \
\x1b[36mray::SegmentActor.__init__()\x1b[39m (pid=14807, ip=192.0.2.2, actor_id=a0e2, repr=<...>)
  File "/site-packages/workers/actors.py", line 10, in __init__
    import nonexistent_thing
    ^^^^^^^^^^^^^^^^^^^^^^^^
"""


@pytest.mark.parametrize(
    ("text", "stderr", "reason"),
    [
        pytest.param(CRASHED, [], "died: its process was killed or crashed", id="killed"),
        pytest.param(
            f"{CRASHED}\nThe actor never ran - it was cancelled before it started running.",
            ["libGL.so.1: cannot open shared object file"],
            "died: its process was killed or crashed; "
            "it said: libGL.so.1: cannot open shared object file",
            id="killed-while-it-starts",
        ),
        pytest.param(f"{EXITED}4.", [], "left with exit code 4", id="exit-code"),
        pytest.param(
            f"{EXITED}no licence. Ask for one.",
            [],
            "left with exit code no licence. Ask for one",
            id="exit-with-words",
        ),
        pytest.param(
            f"{RAISED}ModuleNotFoundError: No module named 'nonexistent_thing'",
            [],
            "could not start: ModuleNotFoundError: No module named 'nonexistent_thing'",
            id="import-error",
        ),
        pytest.param(
            f"{RAISED}ValueError: one\ntwo", [], "could not start: ValueError: one", id="two-lines"
        ),
        pytest.param(
            "Task was killed due to the node running low on memory.\nMemory on the node ...",
            [],
            "was killed by Ray because the machine ran out of memory",
            id="out-of-memory",
        ),
    ],
)
def test_the_reason_is_told_in_one_line(text: str, stderr: list[str], reason: str) -> None:
    assert why_gone(text, stderr) == reason


def test_the_process_is_found_in_every_text() -> None:
    assert (pid_in(CRASHED), pid_in(RAISED), pid_in("no such thing")) == (14131, 14807, None)


LOGGED = "2026-01-01 10:00:00,123 WARNING pipeline.stream: late\n[2026-01-01 10:00:00 I 7] ray\n"


@pytest.mark.parametrize(
    ("started", "written", "told"),
    [
        (False, f"first\nlicence expired\n{LOGGED}\n", ["licence expired"]),
        (True, f"some library's chatter\n{LOGGED}", []),
        (True, f"x\nFatal Python error: Aborted\nThread 0x1\n  File y\n{LOGGED}",
         ["Fatal Python error: Aborted"]),
        (True, "Fatal Python error: Aborted\n*** SIGABRT received at time=1 on cpu 0 ***\nPC: 1",
         ["Fatal Python error: Aborted"]),
        (False, LOGGED, []),
        (False, "", []),
    ],
)  # fmt: skip
def test_the_last_line_is_told_of_who_never_started_and_of_others_the_crash(
    tmp_path: Path, started: bool, written: str, told: list[str]
) -> None:
    (tmp_path / "worker-7c0f-01000000-77.err").write_text(written)
    (tmp_path / "worker-7c0f-01000000-177.err").write_text("somebody else\n")
    assert last_lines(tmp_path, 77, started=started) == told


def test_what_ray_marks_the_output_with_is_not_what_the_process_said(tmp_path: Path) -> None:
    marks = ":job_id:01000000\n:actor_name:StreamActor\n"
    (tmp_path / "worker-7c0f-01000000-77.err").write_text(marks)
    (tmp_path / "worker-7c0f-01000000-78.err").write_text(f"no licence\n{marks}")
    assert last_lines(tmp_path, 77, started=False) == []
    assert last_lines(tmp_path, 78, started=False) == ["no licence"]


def test_a_process_elsewhere_has_said_nothing(tmp_path: Path) -> None:
    assert last_lines(tmp_path, 77, started=False) == []
