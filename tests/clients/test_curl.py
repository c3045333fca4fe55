"""curl, as the README shows it."""

import json
import os
import shutil
import subprocess

import pytest


def curl(*words):
    if not shutil.which("curl"):
        if os.environ.get("CI"):
            pytest.fail("curl is not installed")
        pytest.skip("curl is not installed")
    done = subprocess.run(["curl", "-sS", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


JSON = ("-H", "content-type: application/json")


def body(text="hello", **more):
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more})


def test_plain_and_streamed(served):
    url = f"{served.url}/v1/chat/completions"
    assert json.loads(curl(url, *JSON, "-d", body()))["choices"][0]["message"]["content"] == "All is well."
    told = curl("-N", url, *JSON, "-d", body(stream=True))
    assert told.endswith("data: [DONE]\n\n")
    assert curl("-o", os.devnull, "-w", "%{http_code}", url, *JSON, "-d", body("bomb")) == "400"


def test_a_large_body_with_expect_continue(served):
    told = curl(f"{served.url}/v1/chat/completions", *JSON, "-H", "expect: 100-continue", "-d", body("x" * 100_000))
    assert json.loads(told)["choices"]


def test_a_form_is_told_what_to_send(served):
    told = json.loads(curl(f"{served.url}/v1/chat/completions", "-d", body()))
    assert "content-type: application/json" in told["error"]["message"]
