"""`kafka://HOST:PORT`: records to a topic of Kafka, each source's in one partition."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline.delivery.client import (
    Message,
    NotSent,
    Rejected,
    Unreachable,
    Unwelcome,
    together_or_each,
)
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of

K = TypeVar("K", bound="KafkaClient")

TIMEOUT_S, _LOOKS = 5.0, 10
_NOT_ALLOWED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_Answers = dict[int, KafkaError | None]
_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
}
"""Why is said beside, if at all."""
_NEVER = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD}
"""Of a message, or of all that were in one request with it."""
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}


class KafkaClient:
    """Taken means that all replicas in sync have the message (`acks=all`).

    At least once and in order within a partition, which the source's id chooses: a producer of
    ours writes no message twice, but what it was not told of is sent again by the next one, with
    the same `key` among the headers.

    Args:
        place: the broker that is asked first.
        topic: of the messages.
        creates: make the topic where there is none.
        limit: bytes of a message, at most; as the broker's `message.max.bytes`.
        settings: more of librdkafka's own.
    """

    batch = 256
    around = 500
    """What Kafka writes around a message, at most."""

    def __init__(
        self,
        place: ServicePlace,
        *,
        topic: str,
        creates: bool,
        limit: int,
        settings: dict[str, str],
    ) -> None:
        self._place, self._topic, self._creates = place, topic, creates
        self.limit: int | None = limit
        self._producer: Producer | None = None
        self._said: KafkaError | None = None
        self._settings: dict[str, Any] = {
            "bootstrap.servers": f"{place.host}:{place.port or 9092}",
            "client.id": "maskstream",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.max.bytes": limit,
            "message.timeout.ms": round(TIMEOUT_S * 1000),
            "socket.connection.setup.timeout.ms": round(TIMEOUT_S * 1000),
            "log_level": 0,  # what it has to say comes as errors
            "error_cb": self._note,
            **_security(place),
            **settings,
        }

    def connect(self) -> None:
        """See that the brokers are there and have the topic."""
        self._said = None
        try:
            self._producer = Producer(self._settings)
            if self._topic not in self._topics(self._producer):
                self._make_topic()
        except KafkaException as error:
            raise self._told(error.args[0]) from error

    def send(self, batch: Sequence[Message]) -> None:
        """Produce all and wait until each is written; one by one where a broker refuses some."""
        together_or_each(batch, self._produce)

    def _produce(self, batch: Sequence[Message]) -> None:
        assert self._producer is not None  # noqa: S101 - the courier connects first
        self._said = None
        answers: _Answers = {}
        for number, message in enumerate(batch):
            self._producer.produce(
                self._topic,
                key=message.source,
                value=message.body,
                headers={"key": message.key, **message.encoding.headers},
                on_delivery=partial(_keep, answers, number),
            )
        self._producer.flush(2 * TIMEOUT_S)
        for number, message in enumerate(batch):
            if number not in answers:
                raise self._told(self._said, number)
            if (error := answers[number]) is not None:
                raise self._told(error, number, len(message.body))

    def close(self) -> None:
        """Let go of the connections, and of what was not written."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_queue=True, in_flight=True)
            producer.flush(0)

    def _topics(self, producer: Producer) -> set[str]:
        """It asks for as long as it may, also who has refused us: that comes as an error beside."""
        for _ in range(_LOOKS - 1):
            try:
                return set(producer.list_topics(timeout=TIMEOUT_S / _LOOKS).topics)
            except KafkaException:
                producer.poll(0)
                if self._said is not None and _refusal(self._said):
                    raise KafkaException(self._said) from None
        return set(producer.list_topics(timeout=TIMEOUT_S / _LOOKS).topics)

    def _make_topic(self) -> None:
        if not self._creates:
            raise self._told(KafkaError(KafkaError._UNKNOWN_TOPIC))
        settings = {k: v for k, v in self._settings.items() if k in OF_CONNECTIONS}
        admin = AdminClient(settings)  # it has to live until the answer is there
        made = admin.create_topics([NewTopic(self._topic, -1, -1)])
        try:
            made[self._topic].result(TIMEOUT_S)
        except TimeoutError:
            raise Unreachable(f"{self._place}: no answer within {TIMEOUT_S:g} s") from None
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another was quicker
                raise

    def _note(self, error: KafkaError) -> None:
        if self._said is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._said = error

    def _told(
        self, error: KafkaError | None, acknowledged: int = 0, size: int | None = None
    ) -> NotSent:
        said = self._said or error if error is None or error.code() in _AWAY else error
        if said is None:
            return Unreachable(f"{self._place}: no answer within {TIMEOUT_S:g} s", acknowledged)
        code = said.code()
        if reason := _refusal(said):
            return Unwelcome(f"{self._place}: {reason}", acknowledged)
        if code in _NO_TOPIC:
            text = (
                f"{self._place}: there is no topic {self._topic!r}; make one, or leave create=0 out"
            )
            return Unwelcome(text, acknowledged)
        if error is not None and error.code() in _NEVER:
            return Rejected(f"{self._place}: {error.str()}, of {size} bytes", acknowledged)
        return Unreachable(f"{self._place}: {said.str()}", acknowledged)


OF_CONNECTIONS = {
    *("bootstrap.servers", "client.id", "log_level", "security.protocol", "ssl.ca.location"),
    *("ssl.certificate.location", "ssl.key.location", "sasl.mechanism", "sasl.username"),
    *("sasl.password", "socket.connection.setup.timeout.ms"),
}


def _keep(answers: _Answers, number: int, error: KafkaError | None, _: object) -> None:
    answers[number] = error


def _refusal(error: KafkaError) -> str | None:
    """Why it will have nothing of us, and what to do; None: it may have later."""
    text = error.str()
    if "certificate verify failed" in text:
        return (
            "its certificate is not trusted (certificate verify failed); "
            "name who signed it with tls_ca_file"
        )
    if error.code() == KafkaError._SSL or "SSL_HANDSHAKE" in text:
        return f"no TLS with it: {text}"
    if error.code() in _NOT_ALLOWED:
        return f"{text}; check user name, password and rights"
    return None


def _security(place: ServicePlace) -> dict[str, str]:
    """How librdkafka is told who we are and whom we trust."""
    found = {}
    if place.tls is not None:
        files = {
            "ssl.ca.location": place.tls.ca_file,
            "ssl.certificate.location": place.tls.cert_file,
            "ssl.key.location": place.tls.key_file or place.tls.cert_file,
        }
        found = {name: path for name, path in files.items() if path is not None}
    named = place.username is not None
    found["security.protocol"] = {
        (False, False): "PLAINTEXT", (True, False): "SSL",
        (False, True): "SASL_PLAINTEXT", (True, True): "SASL_SSL",
    }[place.tls is not None, named]  # fmt: skip
    if place.username is not None:
        found["sasl.username"] = place.username
        found["sasl.password"] = "" if place.password is None else place.password.reveal()
    return found


def open_kafka(target: SinkTarget) -> ServiceSink:
    """Open `kafka://HOST:PORT`."""
    return open_service(target, client_of(target, KafkaClient))


def client_of(target: SinkTarget, kind: type[K]) -> K:
    """A client of the brokers and the topic that a URL names."""
    place, options = place_of(target), target.options
    topic = options["topic"].replace("{source}", target.source_id)
    settings = {"compression.type": options["compression"]}
    if place.username is not None:
        settings["sasl.mechanism"] = options["sasl"] or "SCRAM-SHA-512"
    if options["brokers"] is not None:
        first = f"{place.host}:{place.port or 9092}"
        settings["bootstrap.servers"] = ",".join((first, *options["brokers"]))
    return kind(
        place,
        topic=topic,
        creates=options["create"],
        limit=options["max_bytes"],
        settings=settings,
    )
