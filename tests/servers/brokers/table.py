"""All services there are."""

from __future__ import annotations

from brokers.amqp import Amqp
from brokers.azure import Azure
from brokers.broker import Broker
from brokers.kafka import Kafka
from brokers.mqtt import Mqtt
from brokers.nats import Nats
from brokers.postgresql import Postgresql
from brokers.redis import Redis
from brokers.s3 import S3
from brokers.webhook import Webhook

BROKERS: dict[str, type[Broker]] = {
    "amqp": Amqp,
    "az": Azure,
    "kafka": Kafka,
    "mqtt": Mqtt,
    "nats": Nats,
    "redis": Redis,
    "s3": S3,
    "webhook": Webhook,
    "postgresql": Postgresql,
}
