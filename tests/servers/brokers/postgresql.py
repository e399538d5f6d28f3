"""PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg.rows import dict_row

from brokers.broker import PASSWORD
from brokers.shared import Shared


class Postgresql(Shared):
    """A database for each test. For root it does not start."""

    program, scheme, once, user = "postgres", "postgresql", True, "postgres"
    tells_events: ClassVar[bool] = False
    encodes: ClassVar[bool] = False
    count: ClassVar[int] = 0

    def start(self) -> None:
        self.secure_port = self.port
        super().start()

    def clear(self) -> None:
        Postgresql.count += 1
        self.database = f"results{self.count}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.database}")

    @classmethod
    def missing(cls) -> str | None:
        return None if cls._folder() else "no postgres command"

    @classmethod
    def _folder(cls) -> Path | None:
        found = shutil.which("postgres") or next(iter(_PROGRAMS.glob("*/bin/postgres")), None)
        return None if found is None else Path(found).parent

    def command(self) -> list[str]:
        data = self.folder / "data"
        if not data.exists():
            self._make(data)
        options = {
            "port": self.port, "listen_addresses": "127.0.0.1", "ssl": "on", "fsync": "on",
            "unix_socket_directories": self.folder, "ssl_cert_file": self.folder / "tls.pem",
            "ssl_key_file": self.folder / "tls.key", "log_min_messages": "panic",
            "recovery_init_sync_method": "syncfs",
        }  # fmt: skip
        said = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [*self.as_other(), str(self._programs / "postgres"), "-D", str(data), *said]

    def _make(self, data: Path) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        self.give_away()
        command = (str(self._programs / "initdb"), "-D", str(data), "--no-sync", "-U", "us")
        more = ("-A", "scram-sha-256", f"--pwfile={word}", "--locale=C", "-E", "UTF8")
        subprocess.run([*self.as_other(), *command, *more], check=True, capture_output=True)

    @property
    def _programs(self) -> Path:
        folder = self._folder()
        assert folder is not None
        return folder

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait(10)

    def away(self) -> None:
        """Told to go, not killed, it takes its shared memory along."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        super().away()

    def _signal(self, number: signal.Signals) -> None:
        """To the server, and then to the processes it has for its clients."""
        server = self.process.pid
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{server}/task/{server}/children").read_text()
            pids = [server, *map(int, children.split())]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def answers(self) -> bool:
        try:
            psycopg.connect(self._dsn("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"postgresql://us:{password}@{place}/{self.database}"

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        secured = ("tls=1",) if secure else ()
        return super().url(*secured, *options, password=password, secure=secure)

    def _dsn(self, database: str) -> str:
        where = f"host=127.0.0.1 port={self.port} dbname={database}"
        return f"{where} user=us password={PASSWORD} connect_timeout=5"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        with psycopg.connect(self._dsn(self.database), row_factory=dict_row) as connection:
            frames = connection.execute(_FRAMES, [source]).fetchall()
            found = connection.execute(_INSTANCES, [source]).fetchall()
            ends = connection.execute(_ENDS, [source]).fetchall()
        rows: dict[object, list[object]] = {}
        for row in found:
            frame = row.pop("run"), row.pop("epoch"), row.pop("frame")
            row["mask"] = {"size": row.pop("size"), "counts": row["mask"]}
            rows.setdefault(frame, []).append(row)
        pairs = []
        for frame in frames:
            run, epoch, number = frame["run"], frame["epoch"], frame["frame"]
            frame["instances"] = rows.get((run, epoch, number), [])
            body = json.dumps(frame, separators=(",", ":"), ensure_ascii=False, default=str)
            pairs.append((f"{run}:{source}:{epoch}:{number}", body.encode()))
        return pairs + [(f"{end['run']}:{source}:end", end["end_record"].encode()) for end in ends]


_PROGRAMS = Path("/usr/lib/postgresql")
_FRAMES = """
    SELECT 'maskstream.frame/1' AS schema, run, source, epoch, frame, pts_s, captured_at, width,
        height, model FROM frames JOIN runs ON id = run_id WHERE source = %s
        ORDER BY id, epoch, frame
"""
_INSTANCES = """
    SELECT run, epoch, frame, track, label, class_id, score, ARRAY[x1, y1, x2, y2] AS box, area,
        mask, ARRAY[height, width] AS size FROM instances JOIN frames USING (run_id, epoch, frame)
        JOIN runs ON id = run_id WHERE source = %s ORDER BY run_id, epoch, frame, number
"""
_ENDS = "SELECT run, end_record FROM runs WHERE source = %s AND outcome IS NOT NULL"
