"""The official npm client. Locally a visible skip where it is not installed; in CI a failure."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"


def test_the_npm_client(served):
    if not shutil.which("node") or not (FOLDER / "node_modules").is_dir():
        if os.environ.get("CI"):
            pytest.fail("the npm client is not installed: run `make clients`")
        pytest.skip("the npm client is not installed: run `make clients`")
    done = subprocess.run(
        ["node", "chat.mjs", f"{served.url}/v1"], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["plain"] == told["streamed"] == "All is well."
    assert told["requestId"].startswith("req_")
    assert told["tool"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    block = {"name": "BadRequestError", "status": 400, "code": "content_filter"}
    assert told["blocked"] == [block, block]
