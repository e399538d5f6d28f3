"""The settings of a training run: what is in the repository, and what is refused."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.training.settings import TrainSettings

DEMO = Path(__file__).parents[3] / "configs" / "train-demo.yaml"


def test_the_settings_of_the_bundled_weights_are_read() -> None:
    settings = TrainSettings.read(DEMO)
    assert settings.model.name == "maskrcnn_resnet18_fpn"
    assert (settings.model.min_size, settings.model.max_size) == (384, 640)


def test_streets_for_measuring_are_never_trained_on() -> None:
    settings = TrainSettings.read(DEMO)
    trained = range(settings.data.first_seed, settings.data.first_seed + settings.data.seeds)
    measured = range(settings.check.first_seed, settings.check.first_seed + settings.check.seeds)
    assert not set(trained) & set(measured)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("stepps: 3\n", "stepps: unknown key; known keys are check, ", id="top"),
        pytest.param(
            "data: {sedes: 3}\n", "data.sedes: unknown key; did you mean `seeds`?", id="inside"
        ),
        pytest.param(
            "optimiser: {steps: many}\n",
            "optimiser.steps: must be a whole number, got 'many'",
            id="word",
        ),
        pytest.param(
            "data: {min_scale: -1}\n",
            "data.min_scale: must be greater than 0.1, got -1",
            id="range",
        ),
        *(
            pytest.param(
                f"{section}: {{{key}: {value}}}\n", f"{section}.{key}: must be ", id=f"{key}"
            )
            for section, key, value in (
                ("data", "max_scale", ".inf"),
                ("data", "colour_jitter", ".nan"),
                ("data", "height", "1000000000"),
                ("optimiser", "learning_rate", ".inf"),
                ("optimiser", "clip_norm", ".nan"),
                ("optimiser", "threads", "1000000"),
            )
        ),
        pytest.param("device: gpu\n", "device: ", id="device"),
        pytest.param("- 1\n", "must hold keys such as `data:`, got list", id="list"),
        pytest.param("a: [\n", "line 2, column 1 is not valid YAML: ", id="broken"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        TrainSettings.read(path)
    assert complaint in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        TrainSettings.read(tmp_path / "absent.yaml")
