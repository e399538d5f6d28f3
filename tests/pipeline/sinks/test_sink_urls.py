"""Sink URLs: what is understood, what is refused, and in which words."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.sinks import (
    SCHEMES,
    Scheme,
    check_sink,
    check_targets,
    look_at,
    manner,
    open_sink,
    register,
    targets,
)
from pipeline.sinks.chosen import Choice
from pipeline.sinks.template import filled
from pipeline.sinks.urls import parse_sink

DOCS = Path(__file__).resolve().parents[3] / "docs"
KNOWN = ", ".join(sorted(SCHEMES))


def test_a_url_gives_scheme_location_and_options_with_their_defaults() -> None:
    parsed = parse_sink("video:out/{source}.mp4?crf=30&annotated=0&min_score=0.7")
    assert (parsed.scheme.name, parsed.location) == ("video", "out/{source}.mp4")
    assert parsed.options == {
        "codec": "libx264",
        "crf": 30,
        "preset": "ultrafast",
        "bitrate_kbps": None,
        "threads": 2,
        "annotated": False,
        "segment": None,
        "keep": None,
    }
    assert parsed.choice == Choice(min_score=0.7)


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ("every=frame", Choice()),
        ("every=1s", Choice(every_s=1)),
        ("every=250ms&only=car", Choice(every_s=0.25, only=("car",))),
        (
            "every=1.5min&only=traffic light,person",
            Choice(every_s=90, only=("traffic light", "person")),
        ),
    ],
)
def test_which_frames_and_instances_are_for_a_sink(options: str, choice: Choice) -> None:
    assert parse_sink(f"coco:out/x?{options}").choice == choice


def test_frames_have_a_count_of_their_own() -> None:
    parsed = parse_sink("frames:out?every=25&only=car")
    assert (parsed.options["every"], parsed.choice) == (25, Choice(only=("car",)))


@pytest.mark.parametrize(
    ("location", "root"),
    [
        ("out/{source}.jsonl", "out"),
        ("out/a_{source}.jsonl", "out"),
        ("out/{source}/run.jsonl", "out"),
        ("/data/x/{source}/{source}.jsonl", "/data/x"),
        ("{source}.jsonl", "."),
        ("out/run.jsonl", "out"),
    ],
)
def test_output_stays_in_the_folder_before_the_source(location: str, root: str) -> None:
    assert parse_sink(f"jsonl:{location}").root == root


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


@pytest.mark.parametrize("word", ["72/84", "72#84", "72?84", "x/y", "x#y", "x?y", "x y"])
def test_a_password_with_marks_of_its_own_is_no_address_and_is_not_shown(word: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_sink(f"redis://user:{word}@host/0")
    assert str(error.value).startswith("sink redis://...: ")
    assert str(error.value).endswith(
        "; in a name or password / is written %2F, # %23, ? %3F and @ %40"
    )


def test_passwords_do_not_reach_the_message() -> None:
    with pytest.raises(ConfigError) as error:
        check_sink("kafak://user:S3cret@host/topic?password=S3cret")
    assert "S3cret" not in str(error.value)
    assert "kafak://***@host/topic" in str(error.value)


@pytest.mark.parametrize(
    "source_id",
    ["../x", "/etc/x", "", ".", "..", "a/b", "a\0", "x" * 65, "ä", "-a", "a\n", "a%2fb"],
)
def test_an_id_that_could_leave_the_folder_is_refused(source_id: str, tmp_path: Path) -> None:
    url = f"jsonl:{tmp_path}/{{source}}.jsonl"
    with pytest.raises(ConfigError, match="cannot be part of a file name"):
        open_sink(url, source_id=source_id, run="r", labels={})
    with pytest.raises(ConfigError, match="cannot be part of a file name"):
        targets(url, [source_id])
    assert list(tmp_path.iterdir()) == []


def test_targets_are_absolute_and_made_without_touching_anything(tmp_path: Path) -> None:
    url = f"frames:{tmp_path}/x/../{{source}}/"
    assert targets(url, ["a", "b.1"]) == {"a": f"{tmp_path}/a", "b.1": f"{tmp_path}/b.1"}
    assert list(tmp_path.iterdir()) == []


def test_two_sources_in_one_file_are_refused() -> None:
    check_targets([("jsonl:out/{source}.jsonl", ["a", "b"]), ("jsonl:all.jsonl", ["a"])])
    with pytest.raises(ConfigError) as error:
        check_targets([("jsonl:out/all.jsonl", ["a", "b"])])
    assert str(error.value) == (
        "sink 'jsonl:out/all.jsonl': the sources 'a' and 'b' would write the same file; "
        "put {source} into the path"
    )


def test_two_sinks_with_one_file_are_refused_however_they_spell_it() -> None:
    with pytest.raises(ConfigError) as error:
        check_targets([("jsonl:out/{source}", ["a"]), ("coco:./out/x/../{source}", ["a"])])
    assert str(error.value) == (
        "sinks 'jsonl:out/{source}' and 'coco:./out/x/../{source}' would write the same file for "
        "the source 'a'; give them different paths"
    )


@pytest.mark.usefixtures("schemes_restored")
def test_a_registered_scheme_is_understood_and_a_taken_name_is_refused() -> None:
    mine = Scheme("mine", "nowhere:open_mine", "mine", writes="elsewhere")
    register(mine)
    register(mine)
    check_sink("mine://host/path")
    assert targets("mine://host/path", ["a"]) == {}
    with pytest.raises(ConfigError, match="sink scheme 'mine' is taken: mine"):
        register(Scheme("mine", "elsewhere:open", "another"))
    with pytest.raises(ConfigError, match="lower-case letters and digits only"):
        register(Scheme("My-Sink", "nowhere:open", "x"))


@pytest.mark.usefixtures("schemes_restored")
def test_an_installed_package_offers_a_scheme_as_an_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "their_sink.py").write_text(
        "from pipeline.sinks import Scheme\n"
        "SCHEME = Scheme('theirs', 'their_sink:open_', 'theirs')\n"
    )
    info = tmp_path / "their_sink-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-sink\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[maskstream.sinks]\ntheirs = their_sink:SCHEME\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert [e.name for e in metadata.entry_points(group="maskstream.sinks")] == ["theirs"]
    check_sink("theirs:out.x")


def test_checking_urls_imports_nothing_heavy_and_opening_jsonl_no_codec(tmp_path: Path) -> None:
    code = (
        "import sys, maskstream, pipeline.sinks as s\n"
        "heavy = {'cv2', 'av', 'torch', 'ray', 'redis', 'nats', 'paho', 'confluent_kafka',\n"
        "         'pika', 'httpx2', 'pyarrow', 'sqlalchemy', 'psycopg', 'boto3', 'botocore',\n"
        "         'obstore'}\n"
        "s.check_sink('video:a.mp4'); s.check_targets([('frames:o/{source}', ['a'])])\n"
        "for place in ('redis://h', 'nats://h', 'mqtt://h', 'kafka://h', 'amqp://h/x',\n"
        "              'https://h/x', 'postgresql://h/x', 's3://bucket/x',\n"
        "              'az://shelf/x'):\n"
        "    s.check_sink(place)\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "s.open_sink(sys.argv[1], source_id='a', run='r', labels={}).close()\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    target = f"jsonl:{tmp_path}/{{source}}.jsonl"
    done = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("redis://***@queue/0", "redis", "redis"),
        ("rediss://***@queue/0", "redis", "redis"),
        ("kafka://***@queue", "confluent_kafka", "kafka"),
        ("amqp://***@queue", "pika", "amqp"),
        ("amqps://***@queue", "pika", "amqp"),
        ("nats://***@queue", "nats", "nats"),
        ("mqtt://***@queue", "paho", "mqtt"),
        ("mqtts://***@queue", "paho", "mqtt"),
        ("http://***@queue/x", "httpx2", "webhook"),
        ("https://***@queue/x", "httpx2", "webhook"),
        ("postgresql://***@queue/db", "psycopg", "postgresql"),
        ("s3://***@shelf/x", "boto3", "s3"),
        ("az://***@shelf/x", "obstore", "az"),
        ("sqlite:out/x.db", "sqlalchemy", "sqlite"),
        ("parquet:out/{source}", "pyarrow", "parquet"),
    ],
)
def test_a_sink_whose_library_is_not_installed_says_how_to_install_it(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {module}
    monkeypatch.setattr("pipeline.sinks.urls.find_spec", lambda name: name not in missing or None)
    with pytest.raises(ConfigError) as error:
        check_sink(url.replace("***", "user:S3cret"))
    assert str(error.value) == (
        f"sink {url!r}: needs {module}, which is not installed: pip install 'maskstream[{extra}]'"
    )
    check_sink("jsonl:a")
    missing.clear()
    check_sink(url)


def test_the_page_about_sinks_lists_every_scheme_and_option() -> None:
    page = (DOCS / "sinks.md").read_text()
    headings = "".join(line for line in page.splitlines() if line.startswith("## "))
    for scheme in SCHEMES.values():
        assert f"`{scheme.name}:`" in headings
        for name, option in scheme.options.items():
            assert f"| `{name}` | {option.expected} |" in page, f"{scheme.name}: {name}"


@pytest.mark.parametrize("scheme", ["jsonl", "coco", "mots", "frames"])
def test_standard_output_is_refused_by_name(scheme: str) -> None:
    with pytest.raises(ConfigError, match=rf"{scheme}:-'.*name a file \({scheme}:\./- for one of"):
        check_sink(f"{scheme}:-")
    check_sink(f"{scheme}:./-")


@pytest.mark.parametrize(
    ("path", "listed", "at_noon"),
    [
        ("o/{source}-{start}.mp4", "o/gate.segments", "o/gate-20251129-120000.mp4"),
        (
            "o/{source}/{start:%Y-%m-%d/%H-%M}.mp4",
            "o/gate/video.segments",
            "o/gate/2025-11-29/12-00.mp4",
        ),
        ("o/{start:%Y}/{source}_{start:%j}.mp4", "o/gate.segments", "o/2025/gate_333.mp4"),
        ("{start}.mp4", "video.segments", "20251129-120000.mp4"),
    ],
)
def test_files_that_roll_are_stood_for_by_their_list(
    path: str, listed: str, at_noon: str, tmp_path: Path
) -> None:
    parsed = parse_sink(f"video:{path}?segment=1d")
    assert parsed.output("gate") == listed
    assert filled(parsed.located("gate"), 1_764_417_600.0) == at_noon
    assert targets(f"video:{tmp_path}/{path}?segment=1d", ["gate"]) == {
        "gate": f"{tmp_path}/{listed}"
    }


def test_sources_that_would_share_a_list_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"put \{source\} into the path"):
        check_targets([("video:out/{start}.mp4?segment=1h", ["a", "b"])])
    check_targets([("video:out/{start:%Y}/{source}-{start}.mp4?segment=1h", ["a", "b"])])


@pytest.mark.parametrize(
    "path",
    ["{start:../%H}.mp4", "o/{source}/{start:%Y/../../../%H}.mp4", "o/{source}/../../{start}.mp4"],
)
def test_a_start_that_leads_out_of_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"its `\.\.` leads out of"):
        look_at(f"video:{tmp_path}/{path}?segment=1h", "gate", now=False)


def test_options_of_rolling_files_change_nothing_for_states_of_before_there_were_any() -> None:
    assert "segment" not in manner("video:o/{source}.mp4")
    assert "keep" not in manner("video:o/{source}.mp4")


def test_files_that_follow_each_other_go_on_however_the_next_one_is_to_be() -> None:
    for url in ("video:o/{start}.mp4?segment=1h", "hls:o?segment=4s"):
        assert manner(url) == manner(f"{url}&keep=24h&crf=30&annotated=0")
        assert manner(url) == manner(url.replace("=1h", "=5min").replace("=4s", "=2s"))
        assert manner(url) != manner(f"{url}&only=car")
