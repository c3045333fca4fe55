"""One real gateway process for all clients: a judge beside a scripted model."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.process import Gateway

HOUSE = """
upstreams:
  demo:
    scripted:
      - {model: judge, when: bomb, reply: "YES", first_token: 30ms}
      - {model: judge, reply: "NO", first_token: 30ms}
      - {when: weather, tool_calls: [{name: get_weather, arguments: '{"city": "Paris"}'}]}
      - {when: sunny, reply: "It is sunny."}
      - {when: as json, reply: '{"city": "Paris"}'}
      - {when: final, tool_calls: [{name: final_result, arguments: '{"city": "Paris"}'}]}
      - {when: "city, please", tool_calls: [{name: City, arguments: '{"city": "Paris"}'}]}
      - {when: break, reply: [half, rest], between_tokens: 100ms, break_after: 2}
      - {when: leak, reply: "it is FORBIDDEN-WORD"}
      - {reply: "All is well.", first_token: 10ms, between_tokens: 5ms}
models:
  m: {upstream: demo, model: m}
  judge: {upstream: demo, model: judge}
"""
POLICY = """
policy: safety
checks:
  harm: {use: judge, model: judge, at: input}
  words: {use: keywords, words: [FORBIDDEN-WORD], at: output}
"""


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("clients"), HOUSE, POLICY) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def flowing(tmp_path_factory):
    """Without output checks, so that a stream is under way when something happens to it."""
    policy = "policy: safety\nchecks: {harm: {use: judge, model: judge, at: input}}\n"
    with Gateway(tmp_path_factory.mktemp("flowing"), HOUSE, policy) as gateway:
        yield gateway


def run_client(command, folder, needs):
    """What a client outside of our environment prints. Locally a visible skip where it is missing; in CI a failure."""
    if not Path(needs).exists():
        missing = "this client is not installed: run `make clients`"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
