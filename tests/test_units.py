"""Durations and sizes as people write them."""

import pytest

from gateway.settings import Settings
from gateway.units import seconds, size


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("2s", 2), ("1.5s", 1.5), ("10m", 600), ("1h", 3600), (0, 0)]
)
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", [5, "5", "s", "-1s", "2 days", None, True, "2S"])
def test_what_does_not_say_its_unit_is_not_a_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"), [(7, 7), ("10MiB", 10 * 1024**2), ("200k", 200_000), ("1KiB", 1024), ("3", 3)]
)
def test_sizes(text, value):
    assert size(text) == value


@pytest.mark.parametrize("text", ["x", "10XB", None, True, "-1"])
def test_what_is_not_a_size(text):
    with pytest.raises(ValueError, match="not a size"):
        size(text)


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if "0:" in (field.description or "")]
)
@pytest.mark.parametrize("zero", ["0", 0])
def test_a_setting_that_says_what_zero_means_takes_it(name, zero):
    assert getattr(Settings(**{name: zero}), name) == 0
