"""What is wrong with a sink's URL is one line that says what is right."""

import pytest

from pipeline.errors import ConfigError
from pipeline.sinks import (
    SCHEMES,
    check_sink,
)
from pipeline.sinks.urls import parse_sink

KNOWN = ", ".join(sorted(SCHEMES))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "out.jsonl",
            "sink 'out.jsonl': expected SCHEME:PATH such as jsonl:out/{source}.jsonl; "
            f"schemes are {KNOWN}",
        ),
        (
            "vidoe:out.mp4",
            "sink 'vidoe:out.mp4': unknown scheme 'vidoe', did you mean 'video'?; "
            f"schemes are {KNOWN}",
        ),
        (
            "video:out.mp4?crff=3",
            "sink 'video:out.mp4': unknown option 'crff', did you mean 'crf'?; video knows "
            "annotated, bitrate_kbps, codec, crf, every, keep, min_score, only, preset, segment, "
            "threads",
        ),
        (
            "video:out.mp4?crf=high",
            "sink 'video:out.mp4': crf must be a whole number from 0 to 51, got 'high'",
        ),
        (
            "video:out.mp4?crf=52",
            "sink 'video:out.mp4': crf must be a whole number from 0 to 51, got '52'",
        ),
        (
            "frames:out?format=gif",
            "sink 'frames:out': format must be one of jpg, png, got 'gif'",
        ),
        ("frames:out?annotated=2", "sink 'frames:out': annotated must be 1 or 0, got '2'"),
        (
            "jsonl:a?min_score=1.5",
            "sink 'jsonl:a': min_score must be a number from 0 to 1, got '1.5'",
        ),
        (
            "jsonl:a?min_score=nan",
            "sink 'jsonl:a': min_score must be a number from 0 to 1, got 'nan'",
        ),
        *(
            (
                f"jsonl:a?every={wrong}",
                "sink 'jsonl:a': every must be frame, event, or a period such as 1s, 500ms or "
                f"5min, got '{wrong}'",
            )
            for wrong in ("0s", "1", "-1s", "nans", "events")
        ),
        (
            "jsonl:a?every=event",
            "sink 'jsonl:a': jsonl takes no every=event; events:PATH is a file of events",
        ),
        (
            "redis://queue?every=event&mask=none",
            "sink 'redis://queue': mask is for records of frames, every=event sends events; leave "
            "one of them out",
        ),
        *(
            (
                f"redis://queue?every=1s&{option}={value}",
                f"sink 'redis://queue': {option} is for events, this sink sends frames; add "
                "every=event, or leave it out",
            )
            for option, value in (("crop", "64"), ("gone", "1s"), ("update", "never"))
        ),
        (
            "events:a?crop=4000",
            "sink 'events:a': crop must be a whole number from 0 to 1024, got '4000'",
        ),
        (
            "jsonl:a?only=car,",
            "sink 'jsonl:a': only must be names of classes with commas between, got 'car,'",
        ),
        (
            "jsonl:a?mask=poligon",
            "sink 'jsonl:a': mask must be one of rle, polygon, none, got 'poligon', did you mean "
            "'polygon'?",
        ),
        *(
            (
                f"{table}?every=event",
                f"sink '{table}': {table.partition(':')[0]} takes no every=event; events:PATH is a "
                "file of events",
            )
            for table in ("parquet:a", "sqlite:a.db", "postgresql://db/results")
        ),
        (
            "jsonl:a?fields=box,scores",
            "sink 'jsonl:a': fields must be some of pts_s, captured_at, clock, file, width, "
            "height, model, track, label, class_id, score, box, area, mask, predicted, keypoints, "
            "got 'scores', did you mean 'score'?",
        ),
        ("jsonl:a?x", "sink 'jsonl:a': options are key=value joined by &, got 'x'"),
        (
            "jsonl:a?password=hunter2&x",
            "sink 'jsonl:a': options are key=value joined by &, got 'password=***&x'",
        ),
        ("mots:a?start=1&start=0", "sink 'mots:a': option 'start' is given twice"),
        (
            "jsonl:out/{name}.jsonl",
            "sink 'jsonl:out/{name}.jsonl': unknown placeholder '{name}'; the only one is {source}",
        ),
        (
            "jsonl:out/}.jsonl",
            "sink 'jsonl:out/}.jsonl': unknown placeholder '}'; the only one is {source}",
        ),
        (
            "jsonl:",
            "sink 'jsonl:': no usable path after 'jsonl'; expected for example jsonl:out/{source}",
        ),
        (
            "video:a\0.mp4",
            "sink 'video:a\\x00.mp4': no usable path after 'video'; expected for example "
            "video:out/{source}.mp4",
        ),
        (
            "video:out.avi",
            "sink 'video:out.avi': video writes .mp4, .m4v, .mov; end the path with .mp4",
        ),
        ("coco:out/", "sink 'coco:out/': coco writes one file, got a folder"),
        (
            "video:out/{source}.mp4?segment=10min",
            "sink 'video:out/{source}.mp4': segment makes many files and the path names one; say "
            "where each begins, such as video:out/{source}-{start:%Y%m%d-%H%M%S}.mp4",
        ),
        (
            "video:out/{source}-{start}.mp4",
            "sink 'video:out/{source}-{start}.mp4': {start} is of files that follow each other; "
            "add ?segment=10min, or leave it out of the path",
        ),
        (
            "video:out/{source}.mp4?keep=24h",
            "sink 'video:out/{source}.mp4': keep is of files that follow each other; add "
            "segment=10min, or leave it out",
        ),
        (
            "video:{start:%H-%Q}.mp4?segment=1h",
            "sink 'video:{start:%H-%Q}.mp4': {start} has '%Q', which is no time; known are %Y, %m, "
            "%d, %H, %M, %S, %j, %y, %f",
        ),
        (
            "video:{start:%Y-%m-%d}.mp4?segment=10min",
            "sink 'video:{start:%Y-%m-%d}.mp4': {start} is the same in two files that follow each "
            "other; let its format tell them apart, such as {start:%Y%m%d-%H%M%S}",
        ),
        (
            "video:{begin}.mp4",
            "sink 'video:{begin}.mp4': unknown placeholder '{begin}'; known are {source} and "
            "{start}",
        ),
        (
            "hls:out/{start}",
            "sink 'hls:out/{start}': unknown placeholder '{start}'; the only one is {source}",
        ),
        (
            "video:{start}.mp4?segment=900ms",
            "sink 'video:{start}.mp4': segment must be a period such as 10s or 5min, at least 1s, "
            "got '900ms'",
        ),
        (
            "video:{start}.mp4?segment=1h&keep=0GB",
            "sink 'video:{start}.mp4': keep must be a period such as 24h or 7d, or a size such as "
            "500MB or 20GB, got '0GB'",
        ),
        (
            "jsonl://data/a",
            "sink 'jsonl://data/a': expected a path after the colon, jsonl:/data/a or jsonl:data/a",
        ),
    ],
)
def test_a_wrong_url_is_one_line_that_says_what_is_right(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_sink(url)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://h", "sink postgresql://h: expected HOST/DATABASE"),
        ("postgresql://h/a/b", "sink postgresql://h: expected HOST/DATABASE"),
        (
            "postgresql://h/d?schema=pg_own",
            "sink postgresql://h: schema pg_own: names with pg_ are PostgreSQL's own; name another",
        ),
        ("redis://h/masks", "sink redis://h: expected the number of a database behind the host"),
        (
            "nats://h?subject=a..{source}",
            "sink nats://h: 'a..source' is no subject of NATS to publish to; expected words with "
            "one dot between, without * and >",
        ),
        (
            "nats://h?stream={source}",
            "sink nats://h: '{source}' is no name of a stream; expected one without blanks, dots, "
            "slashes, braces, * and >",
        ),
        (
            "nats://h/masks",
            "sink nats://h: nothing stands behind the host; the subject is named by ?subject=",
        ),
        (
            "mqtts://h?topic=a/%2B",
            "sink mqtts://h: 'a/+' is no topic of MQTT to publish to; expected words without + "
            "and #, the first without $",
        ),
        (
            "mqtt://h?discovery=$SYS",
            "sink mqtt://h: '$SYS' is no topic of MQTT to publish to; expected words without + "
            "and #, the first without $",
        ),
        (
            "mqtt://h/masks",
            "sink mqtt://h: nothing stands behind the host; the topic is named by ?topic=",
        ),
        (
            "mqtt://h?discovery=homeassistant&encoding=msgpack",
            "sink mqtt://h: what discovery= tells Home Assistant of reads JSON; leave encoding out",
        ),
        (
            "https://h/hook?batch=2&encoding=zstd",
            "sink https://h: a batch is lines of JSON; leave batch or encoding out",
        ),
        (
            "nats://h?size=5",
            "sink 'nats://h': size must be a size such as 200kB or 1.5MB, got '5'",
        ),
        (
            "redis://h?size=0kB",
            "sink 'redis://h': size must be a size such as 200kB or 1.5MB, got '0kB'",
        ),
        (
            "amqp://h?encoding=msgpak",
            "sink 'amqp://h': encoding must be one of json, zstd, msgpack, got 'msgpak', did you "
            "mean 'msgpack'?",
        ),
        ("mqtt://h?password_env=WORD", "sink mqtt://h: a password is given and no username"),
        (
            "kafka://h?topic=a/{source}",
            "sink kafka://h: 'a/source' is no topic of Kafka; expected letters, digits, '.', '_' "
            "and '-', at most 249",
        ),
        (
            "kafka://h:9092/masks",
            "sink kafka://h:9092: nothing stands behind the host; the topic is named by ?topic=",
        ),
        (
            "kafka://h?brokers=two:9092,three",
            "sink kafka://h: brokers: 'three' is none; expected HOST:PORT",
        ),
        (
            "kafka://h?sasl=PLAIN",
            "sink kafka://h: sasl says how we say who we are, and nobody is named; add username=, "
            "or leave it out",
        ),
        (
            f"amqp://h?exchange={'x' * 256}",
            f"sink amqp://h: '{'x' * 256}' is no name of AMQP; expected at most 255 bytes",
        ),
        (
            "amqp://h?routing_key=a.%23",
            "sink amqp://h: 'a.#' is no routing key to publish with; expected words with dots "
            "between, without * and #",
        ),
        (
            "redis://h?tls_ca_file=ca.pem",
            "sink redis://h: tls_ca_file is given and nothing is encrypted; add tls=1, or leave it "
            "out",
        ),
        (
            "https://h/hook?tls_key_file=key.pem",
            "sink https://h: tls_key_file is the key of a tls_cert_file, which is not given",
        ),
        ("udp://h", "sink udp://h: expected //HOST:PORT behind the colon"),
        ("udp://h:1234/x", "sink udp://h:1234: nothing stands behind //HOST:PORT"),
        ("rtmp://h", "sink rtmp://h: expected //HOST/PATH behind the colon"),
        (
            "crops:out/?cutout=1",
            "sink crops:out/: cutout makes the rest transparent, which jpg cannot; add format=png",
        ),
        ("redis://h:0", "sink redis://...: expected //HOST:PORT behind the colon"),
    ],
)
def test_what_no_service_has_is_known_from_its_words(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_sink(url)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h:5432/d?schema=own",
        "redis://h/15",
        "redis://:word1@h?tls=1&tls_ca_file=ca.pem",
        "nats://h?subject=a.{source}.b&stream=masks",
        "mqtt://u@h?topic=a/{source}&password_env=WORD&discovery=homeassistant",
        "kafka://h?brokers=two:9092,[::1]:9093&topic=a.{source}",
        "kafka://h?sasl=PLAIN&username=me&password_env=WORD",
        "https://h/@me/{source}?password_env=WORD",
        "https://h/hook?encoding=zstd&size=1.5MB",
        "rtmp://h?key_env=KEY",
        "rtsp://h/live/{source}",
        "udp://239.0.0.1:1234",
    ],
)
def test_what_a_service_has_is_taken(url: str) -> None:
    check_sink(url)


def test_a_rule_is_asked_for_every_source() -> None:
    sink = parse_sink("nats://h?subject=a.{source}")
    assert sink.located("gate.1") == "//h"
    with pytest.raises(ConfigError, match=r"'a\.gate\.\.1' is no subject"):
        sink.located("gate..1")
