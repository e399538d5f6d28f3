"""Settings: what a file may say, and what the user reads when it says something else."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import SourceSettings, load, parse
from pipeline.errors import ConfigError


def source(**more: Any) -> dict[str, Any]:
    return {"id": "gate", "url": "gate.mp4", **more}


def test_defaults_are_merged_into_every_source_and_lose_against_its_own_keys() -> None:
    settings = parse(
        {
            "defaults": {"min_score": 0.3, "max_fps": 5},
            "sources": [source(), source(id="yard", min_score=0.9)],
        }
    )
    assert [(s.id, s.min_score, s.max_fps) for s in settings.sources] == [
        ("gate", 0.3, 5.0),
        ("yard", 0.9, 5.0),
    ]


def test_a_sink_may_be_its_bare_url() -> None:
    settings = parse({"sources": [source()], "sinks": ["jsonl:a", {"url": "coco:b"}]})
    assert [sink.url for sink in settings.sinks] == ["jsonl:a", "coco:b"]


def test_a_sink_may_be_for_some_sources_alone() -> None:
    settings = parse(
        {
            "sources": [source(), source(id="yard")],
            "sinks": ["jsonl:a", {"url": "coco:b", "sources": ["yard"]}],
        }
    )
    assert [s.url for s in settings.sinks_of("gate")] == ["jsonl:a"]
    assert [s.url for s in settings.sinks_of("yard")] == ["jsonl:a", "coco:b"]


def test_tracker_keys_stand_beside_the_preset() -> None:
    settings = parse({"sources": [source()], "tracker": {"preset": "crowd", "track_buffer": 2}})
    assert (settings.tracker.preset, settings.tracker.settings) == ("crowd", {"track_buffer": 2})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({}, "c.yaml: sources: is missing", id="no-sources"),
        pytest.param({"sources": []}, "c.yaml: sources: must have at least 1, got []", id="empty"),
        pytest.param(
            {"sorces": []}, "c.yaml: sorces: unknown key; did you mean `sources`?", id="unknown-top"
        ),
        pytest.param(
            {"sources": [source(max_fsp=3)]},
            "c.yaml: sources[0].max_fsp: unknown key; did you mean `max_fps`?",
            id="unknown-in-source",
        ),
        pytest.param(
            {"sources": [source()], "sinks": [{"url": "jsonl:a", "colour": 1}]},
            "c.yaml: sinks[0].colour: unknown key; known keys are min_score, sources, url",
            id="unknown-in-sink",
        ),
        pytest.param(
            {"sources": [source(), source()]},
            "c.yaml: source id 'gate' is used twice; ids must differ",
            id="duplicate-id",
        ),
        pytest.param(
            {"sources": [source(id="../etc")]},
            "c.yaml: sources[0].id: must be letters, digits, '_', '.' and '-', at most 64, "
            "beginning with a letter or digit; it becomes part of file names, got '../etc'",
            id="id-leaves-folder",
        ),
        pytest.param(
            {"sources": [source()], "workers": {"segment": "many"}},
            "c.yaml: workers.segment: must be a whole number or must be 'auto' or must hold keys, "
            "got 'many'",
            id="number-or-auto",
        ),
        pytest.param(
            {"sources": [source()], "workers": {"segment": {"min": 5, "max": 2}}},
            "c.yaml: workers.segment: min 5 is above max 2, got {'max': 2, 'min': 5}",
            id="min-above-max",
        ),
        pytest.param(
            {"sources": [source()], "workers": {"segment": {"min": 0, "max": 2}}},
            "c.yaml: workers.segment.min: must be greater than or equal to 1, got 0",
            id="min-of-none",
        ),
        pytest.param(
            {"sources": [source()], "workers": {"segment": {"min": 1}}},
            "c.yaml: workers.segment.max: is missing",
            id="min-without-max",
        ),
        pytest.param(
            {"sources": [source(min_score=2)]},
            "c.yaml: sources[0].min_score: must be less than or equal to 1, got 2",
            id="out-of-range",
        ),
        pytest.param(
            {"sources": [source(stride=0)]},
            "c.yaml: sources[0].stride: must be greater than or equal to 1, got 0",
            id="no-step",
        ),
        pytest.param(
            {"sources": [source(stride=True)]},
            "c.yaml: sources[0].stride: takes no true or false, got True",
            id="no-number",
        ),
        pytest.param(
            {"sources": [source(max_fps=float("inf"))]},
            "c.yaml: sources[0].max_fps: must be a finite number, got inf",
            id="infinite",
        ),
        pytest.param(
            {"sources": [source()], "model": {"precision": "fp8"}},
            "c.yaml: model.precision: must be 'auto', 'fp32', 'fp16' or 'bf16', got 'fp8'",
            id="not-a-choice",
        ),
        pytest.param(
            {"sources": [source()], "metrics": {"host": "0.0.0.0"}},
            "c.yaml: metrics.host: must be a loopback address; put a proxy with authentication "
            "before it, got '0.0.0.0'",
            id="open-to-the-world",
        ),
        pytest.param(
            {"sources": [source()], "sinks": [{"url": "jsonl:a", "sources": ["gat"]}]},
            "c.yaml: sink 'jsonl:a' is for sources ['gat'], which do not exist; there are ['gate']",
            id="sink-of-nobody",
        ),
        pytest.param(
            {"sources": [source()], "defaults": {"id": "a"}},
            "c.yaml: defaults.id: every source has its own; remove it here",
            id="id-for-all",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_with_file_key_value_and_choice(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        parse(values, origin="c.yaml")


SQUARE = [[0, 0], [9, 0], [9, 9], [0, 9]]


@pytest.mark.parametrize("key", ["include", "ignore"])
@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        pytest.param(
            [[0, 0], [9, float("nan")], [9, 9]],
            "[1][1][1]: must be a finite number, got nan",
            id="nan",
        ),
        pytest.param(
            [[0, 0], [float("-inf"), 0], [9, 9]],
            "[1][1][0]: must be a finite number, got -inf",
            id="infinite",
        ),
        pytest.param(
            [[0, 0], [1e30, 0], [9, 9]],
            "[1][1][0]: must be less than or equal to 1000000, got 1e+30",
            id="huge",
        ),
        pytest.param(
            [[0, 0], [9, 0], [9, -1000001]],
            "[1][2][1]: must be greater than or equal to -1000000, got -1000001",
            id="far-above",
        ),
        pytest.param([], "[1]: must have at least 3, got []", id="empty"),
        pytest.param(
            [[0, 0], [9, 9]], "[1]: must have at least 3, got [[0, 0], [9, 9]]", id="two-points"
        ),
        pytest.param(
            [[0, 0], [9, 9], [4, 4]],
            "[1]: has no area; its points lie on one line, got [[0, 0], [9, 9], [4, 4]]",
            id="line",
        ),
        pytest.param(
            [[0, 5], [0, 5], [9, 5]],
            "[1]: has no area; its points lie on one line, got [[0, 5], [0, 5], [9, 5]]",
            id="line-with-a-point-twice",
        ),
        pytest.param(
            [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]],
            "[1]: lies within one pixel; coordinates are pixels of the source, "
            "got [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]",
            id="fractions",
        ),
        pytest.param(
            [[0, 0, 1], [9, 0], [9, 9]],
            "[1][0]: must have at most 2, got [0, 0, 1]",
            id="three-coordinates",
        ),
        pytest.param(
            [[0, "a"], [9, 0], [9, 9]], "[1][0][1]: must be a number, got 'a'", id="no-number"
        ),
    ],
)
def test_a_polygon_that_encloses_nothing_is_refused(
    key: str, polygon: list[Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^c.yaml: sources\\[0\\].{key}{re.escape(message)}$"):
        parse({"sources": [source(**{key: [SQUARE, polygon]})]}, origin="c.yaml")


def test_a_polygon_may_leave_the_picture_and_cross_itself() -> None:
    crossing = [[-50, 0], [9, 9], [9, 0], [-50, 9]]
    assert parse({"sources": [source(include=[crossing])]}).sources[0].include == (
        tuple((float(x), float(y)) for x, y in crossing),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b"sources: [", r":1? ?line \d+, column \d+ is not valid YAML: .*", id="broken"
        ),
        pytest.param(b"- a\n- b\n", r": must hold keys such as `sources:`, got list", id="list"),
        pytest.param(b"", r": must hold keys such as `sources:`, got nothing", id="empty"),
        pytest.param(b"\xff\xfe\x00", r": cannot be read: it is not UTF-8 text", id="binary"),
        pytest.param(
            b"sources: !!python/object/apply:os.system ['true']",
            r":.* is not valid YAML: .*",
            id="object-tag",
        ),
    ],
)
def test_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert re.fullmatch(re.escape(str(path)) + message, str(caught.value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_every_setting_says_what_it_does() -> None:
    undescribed = [n for n, field in SourceSettings.model_fields.items() if not field.description]
    assert undescribed == []
