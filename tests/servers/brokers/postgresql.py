"""PostgreSQL."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg.rows import dict_row

from brokers.broker import PASSWORD, Broker, free_port


class Postgresql(Broker):
    """One server for all, a database for each; run by another user where we are root, for whom
    none starts."""

    program, scheme, once = "postgres", "postgresql", True
    tells_events: ClassVar[bool] = False
    server: ClassVar[subprocess.Popen[bytes]]
    place: ClassVar[tuple[Path, int] | None] = None
    count: ClassVar[int] = 0

    def __init__(self, folder: Path, certificate: Path) -> None:
        Postgresql.count += 1
        self.database, self.certificate = f"results{self.count}", certificate
        if self.place is None:  # nobody else may look into the folder of the test
            own = Path(tempfile.mkdtemp(prefix="maskstream-pg-"))
            for name in ("tls.pem", "tls.key"):
                shutil.copyfile(certificate, own / name)
                (own / name).chmod(0o600)
            Postgresql.place = own, free_port()
            atexit.register(self._away)
        assert self.place is not None
        self.folder, self.port = self.place
        self.secure_port = self.port
        if not self.answers():
            self.start()
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {self.database}")

    def start(self) -> None:
        super().start()
        Postgresql.server = self.process

    def _away(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

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
        return [*_OTHER_USER, str(self._programs / "postgres"), "-D", str(data), *said]

    def _make(self, data: Path) -> None:
        word = self.folder / "word"
        word.write_text(PASSWORD)
        if _OTHER_USER:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
        command = (str(self._programs / "initdb"), "-D", str(data), "--no-sync", "-U", "us")
        more = ("-A", "scram-sha-256", f"--pwfile={word}", "--locale=C", "-E", "UTF8")
        subprocess.run([*_OTHER_USER, *command, *more], check=True, capture_output=True)

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
        self.server.wait(10)

    def _signal(self, number: signal.Signals) -> None:
        """To the server, and then to the processes it has for its clients."""
        server = self.server.pid
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{server}/task/{server}/children").read_text()
            pids = [server, *map(int, children.split())]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def end(self) -> None:
        self.thaw()

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
            body = json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode()
            pairs.append((f"{run}:{source}:{epoch}:{number}", body))
        return pairs + [(f"{end['run']}:{source}:end", end["end_record"].encode()) for end in ends]


_PROGRAMS = Path("/usr/lib/postgresql")
_OTHER_USER = (
    ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    if os.geteuid() == 0
    else []
)
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
