"""What an installation brings along, and what the idle process takes: a sidecar is to be small."""

import re
from importlib import metadata

import psutil

from tests.end_to_end.process import Gateway

MOST_PACKAGES = 30
MOST_BYTES = 80 * 1024**2
MOST_RESIDENT = 80 * 1024**2
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def brought(package):
    """The package and everything that it needs without an extra."""
    found, open_ = {}, [package]
    while open_:
        name = re.sub(r"[-_.]+", "-", open_.pop()).lower()
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        for need in found[name].requires or ():
            if "extra ==" not in need and ("python_version" not in need or _holds(need)):
                open_.append(_NAME.match(need)[0])
    return found


def _holds(need):
    from packaging.requirements import Requirement

    marker = Requirement(need).marker
    return marker is None or marker.evaluate()


def test_the_core_is_small():
    found = brought("outrider")
    size = sum(
        file.locate().stat().st_size
        for distribution in found.values()
        for file in distribution.files or ()
        if file.locate().is_file() and not str(file).endswith(".pyc")
    )
    assert len(found) <= MOST_PACKAGES, sorted(found)
    assert size <= MOST_BYTES
    assert not {"torch", "spacy", "numpy"} & found.keys()
    assert {"aiohttp", "orjson", "pydantic-core"} <= found.keys()  # so that the walk is known to walk


def test_the_idle_process_is_small(tmp_path):
    house = "upstreams: {demo: {scripted: [{reply: hi}]}}\ndefault_upstream: demo\n"
    policy = (
        "policy: p\nchecks: {secrets: {do: redact}, pii: {do: mask}, injection: {at: user}, toxicity: {at: user}}\n"
    )
    with Gateway(tmp_path, house, policy) as gateway:
        resident = psutil.Process(gateway.process.pid).memory_info().rss
    assert resident <= MOST_RESIDENT, f"{resident / 1024**2:.0f} MiB"
