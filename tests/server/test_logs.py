"""What is logged of a fault: where it was, and no text of an exchange."""

import subprocess
import sys

import pytest

from tests.patience import LONG

FAULT = """
import rich  # where it is installed, structlog would show the local variables of every frame
from gateway.server.logs import log, set_up

def fail(prompt):
    raise ValueError("no such thing")

set_up("info", {style!r})
try:
    fail("this is " + "private")
except ValueError:
    log.exception("request_failed", id="1")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_fault_is_told_without_the_values_that_were_at_hand(style):
    pytest.importorskip("rich")
    code = [sys.executable, "-c", FAULT.format(style=style)]
    done = subprocess.run(code, capture_output=True, text=True, timeout=LONG, check=True)
    assert "request_failed" in done.stderr
    assert "ValueError: no such thing" in done.stderr
    assert "this is private" not in done.stderr
