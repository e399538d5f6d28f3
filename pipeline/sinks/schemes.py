"""The kinds of sinks: the table of schemes with their options; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.catalogue import Catalogue
from pipeline.formats.image_ids import read_image_ids
from pipeline.sinks import rules
from pipeline.sinks.live_schemes import LIVE_SCHEMES
from pipeline.sinks.options import (
    ANNOTATED,
    CODING,
    EVENTS,
    MESSAGES,
    OBJECTS,
    RECORDS,
    ROLLING,
    SERVICE,
    TABLES,
    TLS,
    Option,
    choice,
    file,
    flag,
    identifier,
    integer,
    names,
    period,
    text,
)
from pipeline.sinks.scheme import Scheme, SinkTarget, log_of, selection_of

__all__ = ["SCHEMES", "Scheme", "SinkTarget", "log_of", "register", "selection_of"]


def _also_secure(name: str, scheme: Scheme) -> tuple[Scheme, Scheme]:
    """A service, and the same under a name that always means an encrypted connection."""
    options = {key: option for key, option in scheme.options.items() if key != "tls"}
    secure = replace(
        scheme,
        name=name,
        summary=f"{scheme.summary}, over TLS",
        options=options,
        extra=scheme.extra or scheme.name,
    )
    return scheme, secure


def _webhook(name: str, tls: Mapping[str, Option]) -> Scheme:
    return Scheme(
        name,
        "pipeline.sinks.webhook:open_webhook",
        "records posted to an address of yours",
        rule=rules.webhook,
        writes="service",
        needs="httpx2",
        extra="webhook",
        options={
            **MESSAGES,
            **tls,
            "batch": integer(1, 50, default=1, help="records in a request, at most"),
            "secret_env": text(
                None, "a name", "the environment variable that holds what signs bodies"
            ),
            "secret_file": file("a path", "a file that holds what signs bodies"),
        },
    )


_BUILT_IN = [
    *LIVE_SCHEMES,
    Scheme(
        "jsonl",
        "pipeline.sinks.jsonl:open_jsonl",
        "records, one JSON object a line",
        options=RECORDS,
    ),
    Scheme(
        "video",
        "pipeline.sinks.video:open_video",
        "annotated H.264 video that plays while it is written",
        options={**CODING, **ROLLING},
        suffixes=(".mp4", ".m4v", ".mov"),
        rolls=True,
    ),
    Scheme(
        "hls",
        "pipeline.sinks.hls:open_hls",
        "annotated video for browsers and players, as a folder for a web server",
        writes="directory",
        rolls=True,
        options={
            **CODING,
            "segment": period(4.0, "of video in a file", least_s=1.0),
            "keep": period(None, "of video in the playlist; all if unsaid", least_s=1.0),
        },
    ),
    Scheme(
        "coco",
        "pipeline.sinks.coco:open_coco",
        "COCO results, one JSON list",
        unsigned=True,
        options={
            "images": file(
                "the path of a COCO file",
                "for pictures: `image_id` is that of the image with the same `file_name` in there",
                read_image_ids,
            )
        },
    ),
    Scheme(
        "mots",
        "pipeline.sinks.mots:open_mots",
        "MOTS text, six columns, masks made disjoint",
        unsigned=True,
        tracked=True,
        options={
            "start": integer(0, 1, default=0, help="number of the first frame; MOTSChallenge has 1")
        },
    ),
    Scheme(
        "events",
        "pipeline.sinks.events:open_events",
        "when tracks begin and end, one JSON object a line",
        tracked=True,
        options=EVENTS,
    ),
    Scheme(
        "crops",
        "pipeline.sinks.crops:open_crops",
        "the best picture of every track in a folder",
        rule=rules.crops,
        writes="directory",
        tracked=True,
        options={
            "format": choice("jpg", "png", help="file format"),
            "quality": integer(1, 100, default=90, help="of JPEG"),
            "margin": integer(0, 100, default=10, help="percent of the longer side around the box"),
            "cutout": flag(default=False, help="what is not of the mask is transparent; png only"),
            "gone": EVENTS["gone"],
        },
    ),
    Scheme(
        "frames",
        "pipeline.sinks.frames:open_frames",
        "single pictures in a folder",
        writes="directory",
        options={
            "format": choice("jpg", "png", help="file format"),
            "quality": integer(1, 100, default=90, help="of JPEG"),
            "annotated": ANNOTATED,
            "every": integer(1, 1_000_000, default=1, help="only frames divisible by this"),
        },
    ),
    Scheme(
        "parquet",
        "pipeline.sinks.parquet:open_parquet",
        "records as a folder of Parquet files, readable while it grows",
        writes="directory",
        needs="pyarrow",
        options={
            "rows": integer(1, 1_000_000, default=5000, help="frames of a file, at most"),
            "roll": period(60.0, "a file is of one such period of the source's own time"),
            **TABLES,
        },
    ),
    Scheme(
        "sqlite",
        "pipeline.sinks.sqlite:open_sqlite",
        "records as rows of a SQLite database",
        writes="database",
        needs="sqlalchemy",
        options={"spool_mb": SERVICE["spool_mb"], **TABLES},
        suffixes=(".db", ".sqlite", ".sqlite3"),
    ),
    Scheme(
        "postgresql",
        "pipeline.sinks.postgresql:open_postgresql",
        "records as rows of a PostgreSQL database",
        rule=rules.postgresql,
        writes="service",
        needs="psycopg",
        options={
            **SERVICE,
            **TABLES,
            **TLS,
            "schema": identifier("public", "where the tables are, made if it is not there"),
        },
    ),
    *_also_secure(
        "rediss",
        Scheme(
            "redis",
            "pipeline.sinks.redis:open_redis",
            "records as entries of a Redis stream",
            rule=rules.redis,
            writes="service",
            needs="redis",
            options={
                **MESSAGES,
                **TLS,
                "stream": text("maskstream:{source}", "a name", "of the stream"),
                "maxlen": integer(0, 1 << 40, default=0, help="entries it keeps, about; 0 for all"),
            },
        ),
    ),
    Scheme(
        "nats",
        "pipeline.sinks.nats:open_nats",
        "records in a JetStream of NATS",
        rule=rules.nats,
        writes="service",
        needs="nats",
        options={
            **MESSAGES,
            **TLS,
            "subject": text("maskstream.{source}", "a name", "of the messages"),
            "stream": text("maskstream", "a name", "of the stream that is made"),
            "create": flag(default=True, help="make a stream where none takes the subject"),
        },
    ),
    *_also_secure(
        "mqtts",
        Scheme(
            "mqtt",
            "pipeline.sinks.mqtt:open_mqtt",
            "records to an MQTT broker",
            rule=rules.mqtt,
            writes="service",
            needs="paho",
            options={
                **MESSAGES,
                **TLS,
                "topic": text("maskstream/{source}", "a name", "of the messages"),
                "retain": flag(default=False, help="the broker keeps the last one"),
                "status": flag(default=False, help="say on TOPIC/status whether we are there"),
                "discovery": text(None, "a name", "where Home Assistant looks for sensors"),
            },
        ),
    ),
    Scheme(
        "kafka",
        "pipeline.sinks.kafka:open_kafka",
        "records to a topic of Kafka",
        rule=rules.kafka,
        writes="service",
        needs="confluent_kafka",
        options={
            **MESSAGES,
            **TLS,
            "topic": text("maskstream", "a name", "of the messages"),
            "brokers": names("HOST:PORT of others to ask where the first is away"),
            "create": flag(default=True, help="make the topic where there is none"),
            "sasl": replace(
                choice("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", help="how we say who we are"),
                default=None,
            ),
            "compression": choice("zstd", "lz4", "snappy", "gzip", "none", help="of messages"),
            "max_bytes": integer(
                *(1000, 1_000_000_000), default=1_000_000, help="of a message, as the broker's"
            ),
        },
    ),
    *_also_secure(
        "amqps",
        Scheme(
            "amqp",
            "pipeline.sinks.amqp:open_amqp",
            "records to queues of RabbitMQ",
            rule=rules.amqp,
            writes="service",
            needs="pika",
            options={
                **MESSAGES,
                **TLS,
                "exchange": text("maskstream", "a name", "where messages go"),
                "routing_key": text("maskstream.{source}", "a name", "of the messages"),
                "queue": text(None, "a name", "that gets them; as the routing key if unsaid"),
                "type": choice("classic", "quorum", "stream", help="of the queue that is made"),
                "create": flag(default=True, help="make exchange and queue where there are none"),
            },
        ),
    ),
    Scheme(
        "s3",
        "pipeline.sinks.s3:open_s3",
        "records as objects in a bucket, one for each period",
        rule=rules.s3,
        writes="service",
        needs="boto3",
        options={
            **OBJECTS,
            **{key: option for key, option in TLS.items() if key != "tls"},
            "endpoint": text(None, "a URL", "of a store that is not Amazon's"),
            "region": text(None, "a name", "of where the bucket is, as boto3 finds it if unsaid"),
            "create": flag(default=False, help="make the bucket where there is none"),
        },
    ),
    Scheme(
        "az",
        "pipeline.sinks.container:open_azure",
        "records as objects in a container of Azure, one for each period",
        rule=rules.azure,
        writes="service",
        needs="obstore",
        options={
            **OBJECTS,
            "tls_ca_file": TLS["tls_ca_file"],
            "endpoint": text(None, "a URL", "of an account that is not at Azure's usual place"),
        },
    ),
    _webhook("http", {}),
    _webhook("https", {key: option for key, option in TLS.items() if key != "tls"}),
]

SCHEMES = Catalogue("sink scheme", "maskstream.sinks", _BUILT_IN)
"""All known schemes; installed packages offer more `Scheme`s in entry points of this group."""

register = SCHEMES.register
