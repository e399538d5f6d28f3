"""AMQP, by RabbitMQ."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from brokers.broker import PASSWORD, free_port, listening
from brokers.shared import Shared

_PROGRAMS = Path("/usr/lib/rabbitmq/lib")
_SOURCES = ("gate", "street", "cam")


class Amqp(Shared):
    """Everything of it listens on this machine only, its `epmd` too; that goes with it."""

    program, scheme, once, user = "rabbitmq-server", "amqp", False, "rabbitmq"
    limit, absent = 200_000, "create=0&exchange=maskstream.gate"
    reread = False
    epmd: subprocess.Popen[bytes] | None = None

    @classmethod
    def path(cls) -> str | None:
        """Of what Debian's own command starts, which knows one place for its files only."""
        found = next(_PROGRAMS.glob("rabbitmq_server-*/sbin/rabbitmq-server"), None)
        return None if found is None else str(found)

    def command(self) -> list[str]:
        if self.epmd is None:
            self._configure()
            place = ["epmd", "-address", "127.0.0.1", "-port", str(self.epmd_port)]
            self.epmd = subprocess.Popen([*self.as_other(), *place], stderr=subprocess.DEVNULL)
        known = [f"{key}={value}" for key, value in self._environment().items()]
        program = str(self.path())
        return [*self.as_other(), "env", "-C", str(self.folder), *known, program, "-noinput"]

    def _configure(self) -> None:
        self.epmd_port, self.nodes_port = free_port(), free_port()
        (self.folder / "rabbitmq.conf").write_text(f"""
            listeners.tcp.1 = 127.0.0.1:{self.port}
            listeners.ssl.1 = 127.0.0.1:{self.secure_port}
            ssl_options.certfile = {self.folder}/tls.pem
            ssl_options.keyfile = {self.folder}/tls.key
            ssl_options.verify = verify_none
            default_user = me
            default_pass = {PASSWORD}
            max_message_size = {self.limit}
            log.console = true
            log.file = false
        """)
        (self.folder / "enabled_plugins").write_text("[].")
        self.give_away()

    def _environment(self) -> dict[str, object]:
        folder = self.folder
        return {
            "HOME": folder,
            "RABBITMQ_NODENAME": "maskstream@localhost",
            "RABBITMQ_MNESIA_BASE": folder / "data",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_PID_FILE": folder / "pid",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": folder / "none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
            "RABBITMQ_DIST_PORT": self.nodes_port,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_HERE_ONLY} +S 1:1",
            "RABBITMQ_ALLOW_INPUT": 1,  # it becomes the server instead of waiting for it
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": self.epmd_port,
        }

    def clear(self) -> None:
        with self.connection() as connection:
            channel = connection.channel()
            for source in _SOURCES:
                channel.queue_delete(f"maskstream.{source}")
            channel.exchange_delete("maskstream")

    def away(self) -> None:
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait(10)
        super().away()

    def answers(self) -> bool:
        if not listening(self.port):
            return False
        try:
            self.connection().close()
        except AMQPError:
            return False
        return True

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"amqp{'s' if secure else ''}://me:{password}@{place}"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        """None is acknowledged: all are there again afterwards, in the same order."""
        found: list[tuple[str, bytes]] = []
        with self.connection() as connection, contextlib.suppress(ChannelClosedByBroker):
            channel = connection.channel()
            while (message := channel.basic_get(f"maskstream.{source}"))[0] is not None:
                found.append((message[1].message_id, message[2]))
        return found

    def tell(self, words: str) -> None:
        """Have it call a function: `module, function, [arguments]` of Erlang."""
        here = ["-sname", "asking@localhost", "-hidden", *_HERE_ONLY.split(), "-noinput"]
        ask = f"ok = rpc:call('maskstream@localhost', {words})."
        known = {key: str(value) for key, value in self._environment().items()}
        command = [*self.as_other(), "erl", *here, "-eval", ask, "-s", "init", "stop"]
        subprocess.run(command, check=True, env={**os.environ, **known}, timeout=30)

    def connection(self) -> pika.BlockingConnection:
        who = pika.PlainCredentials("me", PASSWORD)
        return pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.port, credentials=who, socket_timeout=10)
        )


_HERE_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
