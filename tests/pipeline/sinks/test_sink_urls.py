"""Sink URLs: what is understood, and which files and addresses they stand for."""

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
SINK_PAGES = sorted((DOCS / "sinks").glob("*.md"))


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


@pytest.mark.parametrize(("name", "module"), [("msgpack", "msgpack"), ("zstd", "zstandard")])
def test_an_encoding_whose_library_is_not_installed_says_how_to_install_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sinks.urls.find_spec", lambda asked: asked != module or None)
    with pytest.raises(ConfigError) as error:
        check_sink(f"nats://h?encoding={name}")
    assert str(error.value) == (
        f"sink 'nats://h': encoding={name} needs {module}, which is not installed: "
        "pip install 'maskstream[encodings]'"
    )
    check_sink("nats://h")


def test_the_pages_about_sinks_list_every_scheme_and_option() -> None:
    pages = [page.read_text() for page in (DOCS / "sinks.md", *SINK_PAGES)]
    headings, everything = [text.partition("\n")[0] for text in pages], "".join(pages)
    for scheme in SCHEMES.values():
        assert sum(f"`{scheme.name}:`" in heading for heading in headings) == 1, scheme.name
        for name, option in scheme.options.items():
            row = f"| `{name}` | {option.expected} |"
            assert row in everything, f"{scheme.name}: {name}"


def test_every_page_about_a_sink_is_named_where_they_are_chosen() -> None:
    common = (DOCS / "sinks.md").read_text()
    assert [page.name for page in SINK_PAGES if f"](sinks/{page.name})" not in common] == []


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
