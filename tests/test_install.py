"""What an installation brings along, and what the idle process takes: a sidecar is to be small."""

import re
import ssl
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from gateway.checks import KINDS
from gateway.fanout import STRATEGIES
from tests.end_to_end.process import Gateway
from tests.patience import LONG

NOT_NEEDED = frozenset("jsonschema rich psycopg pyarrow botocore phonenumbers py3langid ray".split())
PEM = Path(__file__).parent / "server" / "localhost.pem"
MOST_PACKAGES = 30
MOST_BYTES = 80 * 1024**2
MOST_RESIDENT = 88 * 1024**2  # of which 6 MiB are what these checks make before the first request
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


def test_a_server_carries_only_what_it_uses(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # each module that is imported is told on standard error
    house = "upstreams: {up: {base_url: 'http://127.0.0.1:9/v1', api_key: sk-x}}\ndefault_upstream: up\n"
    with Gateway(tmp_path, house, "policy: p\nchecks: {secrets: {do: redact}, keywords: {words: [x]}}\n") as gateway:
        pass
    imported = set(re.findall(r"^import '([\w.]+)' #", gateway.log, re.MULTILINE))
    assert {"gateway.server.app", "aiohttp", "pydantic", "yaml"} <= imported  # so that the list is known to be one
    assert {kind for kind in KINDS if f"gateway.checks.{kind}" in imported} == {"secrets", "keywords"}
    assert not {strategy for strategy in STRATEGIES if f"gateway.fanout.{strategy}" in imported}
    assert not NOT_NEEDED & imported


BARE = """
import gc, os, ssl, sys
before = dict(os.environ)
import gateway.server, aiohttp
assert dict(os.environ) == before
assert "rich" not in sys.modules
import rich
print(sum(len(one.get_ca_certs()) for one in gc.get_objects() if isinstance(one, ssl.SSLContext)))
from gateway.server.trust import verifying
print(len(verifying().get_ca_certs()))
"""


@pytest.mark.parametrize("named", [None, str(PEM)])
def test_certificates_are_read_when_they_are_needed_and_what_is_imported_leaves_no_trace(monkeypatch, named):
    pytest.importorskip("rich")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if named is not None:
        monkeypatch.setenv("SSL_CERT_FILE", named)
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=LONG, check=True)
    imported, needed = map(int, done.stdout.split())
    assert imported == 0
    assert needed == (1 if named else len(ssl.create_default_context().get_ca_certs()))


def test_the_idle_process_is_small(tmp_path):
    house = "upstreams: {demo: {scripted: [{reply: hi}]}}\ndefault_upstream: demo\n"
    policy = (
        "policy: p\nchecks: {secrets: {do: redact}, pii: {do: mask}, injection: {at: user}, toxicity: {at: user}}\n"
    )
    with Gateway(tmp_path, house, policy) as gateway:
        resident = settled(psutil.Process(gateway.process.pid))
    assert resident <= MOST_RESIDENT, f"{resident / 1024**2:.0f} MiB"


def settled(process):
    """Its resident memory once that stays as it is: what checks need is made when it serves already."""
    sizes = [0]
    while len(sizes) < 10 or len(set(sizes[-10:])) > 1:
        time.sleep(0.05)
        sizes.append(process.memory_info().rss)
        assert len(sizes) < LONG / 0.05
    return sizes[-1]
