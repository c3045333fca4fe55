"""One real gateway process for all clients: a judge beside a scripted model."""

import pytest

from tests.end_to_end.process import Gateway

HOUSE = """
upstreams:
  demo:
    scripted:
      - {model: judge, when: bomb, reply: "YES", first_token: 30ms}
      - {model: judge, reply: "NO", first_token: 30ms}
      - {when: weather, tool_calls: [{name: get_weather, arguments: '{"city": "Paris"}'}]}
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
