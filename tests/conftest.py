"""Depths of property tests: shallow everywhere; wide and deep on demand (OUTRIDER_TEST_DEPTH). Every test has an end."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("shallow", max_examples=100, derandomize=True, **ALWAYS)
settings.register_profile("wide", max_examples=2000, **ALWAYS)
settings.register_profile("deep", max_examples=100_000, **ALWAYS)
settings.register_profile("mutate", max_examples=60, derandomize=True, database=None, **ALWAYS)
settings.load_profile(os.environ.get("OUTRIDER_TEST_DEPTH", "shallow"))
SHALLOW = "OUTRIDER_TEST_DEPTH" not in os.environ
many = settings(max_examples=max(600, settings.default.max_examples))  # where the interesting cases are rare

for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]  # tests ask nobody but this machine

END = 600  # seconds; what takes as long waits for something that never comes


def _ends(*_):
    pytest.fail(f"it did not end within {END} seconds")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """With its fixtures; property tests that go deep take as long as they take."""
    signal.signal(signal.SIGALRM, _ends)
    signal.alarm(END if SHALLOW else 0)
    try:
        return (yield)
    finally:
        signal.alarm(0)
