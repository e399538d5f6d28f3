"""The address of a synthetic street."""

import pytest

from pipeline.errors import ConfigError
from pipeline.sources.street.url import StreetUrl


def test_what_an_address_leaves_out_has_its_default() -> None:
    assert StreetUrl.parse("synthetic://street") == StreetUrl(1, 250, (384, 640), 25.0)


def test_every_key_is_read_and_the_size_is_width_first() -> None:
    url = "synthetic://street?seed=7&frames=30&size=320x192&fps=12.5"
    assert StreetUrl.parse(url) == StreetUrl(7, 30, (192, 320), 12.5)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        pytest.param("synthetic://beach", "unknown scene 'beach'", id="scene"),
        pytest.param("synthetic://street?sede=1", "did you mean 'seed'", id="key"),
        pytest.param("synthetic://street?seed=-1", "seed must be a whole number", id="negative"),
        pytest.param("synthetic://street?seed=", "seed must be a whole number", id="empty"),
        pytest.param("synthetic://street?frames=0", "frames must be a whole number", id="none"),
        pytest.param("synthetic://street?size=640", "size must be WIDTHxHEIGHT", id="one-side"),
        pytest.param("synthetic://street?size=64x64", "each 96..4096, got '64x64'", id="small"),
        pytest.param("synthetic://street?fps=nan", "fps must be above 0", id="nan"),
        pytest.param("synthetic://street?fps=0", "fps must be above 0", id="still"),
        pytest.param("synthetic://street?seed=1&seed=2", "seed is given twice", id="twice"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        StreetUrl.parse(url)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
