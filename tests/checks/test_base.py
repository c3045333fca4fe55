"""What every check is."""

from gateway.checks.keywords import Keywords


def test_a_copy_with_other_settings_has_a_version_of_its_own():
    first = Keywords(words=["one"])
    assert first.model_copy().version == first.version
    assert first.model_copy(update={"words": ["two"]}).version != first.version
    assert first.after("a question").version != first.version
